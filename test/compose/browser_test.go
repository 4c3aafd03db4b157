package compose

import (
	"os"

	"github.com/chromedp/chromedp"
)

// chats uses the page as a person would, in Chromium, through the load balancer.
func chats(s *stack) {
	options := chromedp.DefaultExecAllocatorOptions[:]
	if os.Getuid() == 0 {
		options = append(options, chromedp.NoSandbox) // Chromium as root has no sandbox
	}
	allocator, cancel := chromedp.NewExecAllocator(s.ctx, options...)
	defer cancel()
	tab, cancelTab := chromedp.NewContext(allocator)
	defer cancelTab()
	css := func(selector string) chromedp.CSS { return chromedp.CSS(selector) }
	err := chromedp.Do(tab,
		chromedp.Navigate("http://"+s.host()+"/"),
		chromedp.WaitVisible(css(`#state[data-state="open"]`)),
		chromedp.SetValue(css("#name"), "alice"),
		chromedp.Click(css("#join-button")),
		chromedp.WaitVisible(css(`#state[data-state="joined"]`)),
		chromedp.SendKeys(css("#text"), "hello"),
		chromedp.Click(css("#send")),
		chromedp.WaitVisible(css(`#log li[data-kind="message"][data-status="sent"]`)),
	)
	if err != nil {
		s.t.Fatal(err)
	}
	via, err := chromedp.Run(tab, chromedp.Evaluate[string](`document.querySelector("#log li[data-status=sent] .via").textContent`))
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Logf("the page says: %s", via)
}
