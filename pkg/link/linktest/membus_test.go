package linktest_test

import (
	"testing"

	"go.uber.org/goleak"

	"github.com/boreas-ws/boreas/pkg/link"
	"github.com/boreas-ws/boreas/pkg/link/linktest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestConformance(t *testing.T) {
	network := linktest.NewNetwork()
	linktest.Run(t, linktest.Harness{
		New: func(t *testing.T) link.Bus { return linktest.Start(t, network, "") },
		Interrupt: func(b link.Bus) {
			b.(*linktest.Bus).Disconnect()
			b.(*linktest.Bus).Connect()
		},
	})
}
