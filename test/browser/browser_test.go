package browser

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"github.com/boreas-ws/boreas/internal/redistest"
)

// patience bounds the whole test, which builds a program and starts Chromium; on a
// busy machine either takes long.
const patience = 5 * time.Minute

// startDev builds and runs `boreas dev`, and returns the URL of its page, the program
// and the file with what it prints.
func startDev(ctx context.Context, t *testing.T) (url, program, printed string) {
	t.Helper()
	program = filepath.Join(t.TempDir(), "boreas")
	build := exec.CommandContext(ctx, "go", "build", "-o", program, "github.com/boreas-ws/boreas/cmd/boreas")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	port, err := redistest.FreePort()
	if err != nil {
		t.Fatal(err)
	}
	address := "127.0.0.1:" + strconv.Itoa(port)
	log, err := os.Create(filepath.Join(t.TempDir(), "log"))
	if err != nil {
		t.Fatal(err)
	}
	dev := exec.Command(program, "dev", "--listen", address, "--internal-listen", "127.0.0.1:0")
	dev.Stdout, dev.Stderr = log, log
	if err := dev.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := dev.Process.Signal(syscall.SIGINT); err != nil {
			t.Errorf("boreas dev: interrupt: %v", err)
		}
		if err := dev.Wait(); err != nil {
			t.Errorf("boreas dev: %v", err)
		}
		if t.Failed() {
			if b, err := os.ReadFile(log.Name()); err == nil {
				t.Logf("boreas dev printed:\n%s", b)
			}
		}
		_ = log.Close()
	})

	url = "http://" + address + "/"
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		resp, err := http.Get(url)
		if err == nil {
			_ = resp.Body.Close()
			return url, program, log.Name()
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("no answer at %s: %v", url, err)
		}
	}
}

// browserOptions are how Chromium is started.
func browserOptions() []chromedp.ExecAllocatorOption {
	options := chromedp.DefaultExecAllocatorOptions[:]
	if os.Getuid() == 0 {
		options = append(options, chromedp.NoSandbox) // Chromium as root has no sandbox
	}
	return options
}

// newTab opens a tab in a browser; the first call of a browser starts it.
func newTab(ctx context.Context, t *testing.T) context.Context {
	t.Helper()
	tab, cancel := chromedp.NewContext(ctx)
	t.Cleanup(cancel)
	if err := chromedp.Do(tab); err != nil {
		t.Fatalf("Chromium: %v", err)
	}
	return tab
}

// joinAsAlice opens the chat in a tab and joins its room.
func joinAsAlice(tab context.Context, t *testing.T, url string) {
	t.Helper()
	err := chromedp.Do(tab,
		chromedp.Navigate(url),
		chromedp.WaitVisible(css(`#state[data-state="open"]`)),
		chromedp.SetValue(css("#name"), "alice"),
		chromedp.Click(css("#join-button")),
		chromedp.WaitVisible(css(`#state[data-state="joined"]`)),
	)
	if err != nil {
		t.Fatal(err)
	}
}

// css is a selector. A plain string would also be searched for in the page's text.
type css = chromedp.CSS

// said is a message in a tab's log.
type said struct{ Who, Text, Gateway, Instance, Via string }

// messages reads the answered messages of a tab's log.
const messages = `[...document.querySelectorAll("#log li[data-kind=message][data-status=sent]")].map((li) => ({
	Who: li.querySelector(".who").textContent, Text: li.querySelector(".text").textContent,
	Gateway: li.dataset.gateway, Instance: li.dataset.instance, Via: li.querySelector(".via").textContent}))`

func TestTwoTabsChat(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	url, _, _ := startDev(ctx, t)

	allocator, cancelAllocator := chromedp.NewExecAllocator(ctx, browserOptions()...)
	defer cancelAllocator()
	first := newTab(allocator, t)
	tabs := []context.Context{first, newTab(first, t)}
	names := []string{"alice", "bob"}

	for i, tab := range tabs {
		err := chromedp.Do(tab,
			chromedp.Navigate(url),
			chromedp.WaitVisible(css(`#state[data-state="open"]`)),
			chromedp.SetValue(css("#name"), names[i]),
			chromedp.Click(css("#join-button")),
			chromedp.WaitVisible(css(`#state[data-state="joined"]`)),
		)
		if err != nil {
			t.Fatalf("%s joins: %v", names[i], err)
		}
	}
	gateways, instances := map[string]bool{}, map[string]bool{}
	for i, tab := range tabs {
		text := "hello from " + names[i]
		err := chromedp.Do(tab,
			chromedp.SendKeys(css("#text"), text),
			chromedp.Click(css("#send")),
			chromedp.WaitVisible(css(`#log li[data-kind="message"][data-status="sent"]`)),
		)
		if err != nil {
			t.Fatalf("%s writes: %v", names[i], err)
		}
		got, err := chromedp.Run(tab, chromedp.Evaluate[[]said](messages))
		if err != nil {
			t.Fatalf("%s reads: %v", names[i], err)
		}
		// A tab has sent its own message, and no other.
		if len(got) != 1 || got[0].Who != names[i] || got[0].Text != text {
			t.Fatalf("%s sees %+v", names[i], got)
		}
		m := got[0]
		if want := fmt.Sprintf("sent via gateway %s, instance %s", m.Gateway, m.Instance); m.Via != want {
			t.Errorf("%s reads %q, want %q", names[i], m.Via, want)
		}
		if !strings.HasPrefix(m.Gateway, "gateway-") || !strings.HasPrefix(m.Instance, "chat-") {
			t.Errorf("%s: gateway %q, instance %q", names[i], m.Gateway, m.Instance)
		}
		gateways[m.Gateway], instances[m.Instance] = true, true
	}
	// The balancer took turns, and least connections spread the sockets.
	if len(gateways) != 2 || len(instances) != 2 {
		t.Errorf("two tabs used the gateways %v and the instances %v; want two of each", gateways, instances)
	}

	// Each is heard by the other, and sees who is here.
	for i, tab := range tabs {
		other := names[1-i]
		awaitTrue(tab, t, names[i]+" hears "+other, received(other, "hello from "+other))
		awaitTrue(tab, t, names[i]+" sees who is here", `document.getElementById("here").textContent === "alicebob"`)
	}
	err := chromedp.Do(first,
		chromedp.SendKeys(css("#whom"), "bob"),
		chromedp.SendKeys(css("#notice-text"), "psst"),
		chromedp.Click(css("#notify-button")),
	)
	if err != nil {
		t.Fatal(err)
	}
	awaitTrue(tabs[1], t, "bob is notified", `document.getElementById("notices").textContent === "alice: psst"`)

	// The socket keeps its counter on its instance, across messages.
	for want := 1; want <= 2; want++ {
		if err := chromedp.Do(first, chromedp.Click(css("#count"))); err != nil {
			t.Fatal(err)
		}
		reached := fmt.Sprintf(`document.getElementById("counter").textContent === "%d"`, want)
		if _, err := chromedp.Run(first, chromedp.Poll[bool](reached)); err != nil {
			t.Fatalf("counter to %d: %v", want, err)
		}
	}

	// The gateway of one is killed: it comes back by another, and they chat on.
	var before string
	if before, err = chromedp.Run(first, chromedp.Evaluate[string](socket)); err != nil {
		t.Fatal(err)
	}
	if err := chromedp.Do(first, chromedp.Click(css("#kill"))); err != nil {
		t.Fatal(err)
	}
	awaitTrue(first, t, "alice is back", fmt.Sprintf(
		`document.getElementById("state").dataset.state === "joined" && %s !== %q && %[1]s !== "–"`, socket, before))
	for i, tab := range tabs {
		text := "still here, " + names[1-i]
		if err := chromedp.Do(tab, chromedp.SendKeys(css("#text"), text), chromedp.Click(css("#send"))); err != nil {
			t.Fatalf("%s writes: %v", names[i], err)
		}
		awaitTrue(tabs[1-i], t, names[1-i]+" hears "+names[i]+" again", received(names[i], text))
	}
}

// socket is the id of a tab's socket.
const socket = `document.getElementById("socket").textContent`

// received asks whether a tab has got a message from another.
func received(who, text string) string {
	return fmt.Sprintf(`[...document.querySelectorAll("#log li[data-status=received]")].some((li) =>
		li.querySelector(".who").textContent === %q && li.querySelector(".text").textContent === %q)`, who, text)
}

// awaitTrue waits until a condition holds in a tab.
func awaitTrue(tab context.Context, t *testing.T, what, condition string) {
	t.Helper()
	if _, err := chromedp.Run(tab, chromedp.Poll[bool](condition)); err != nil {
		page, _ := chromedp.Run(tab, chromedp.Evaluate[string]("document.body.innerText"))
		t.Fatalf("%s: %v; the page:\n%s", what, err, page)
	}
}
