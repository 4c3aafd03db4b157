package browser

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
)

// TestPageShowsPushesFromOutside runs the commands that the page of `boreas dev` shows:
// what `boreas push` and curl push to its user stands in its box. They work on when the
// gateway of the user was killed.
func TestPageShowsPushesFromOutside(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	url, program, printed := startDev(ctx, t)
	allocator, cancelAllocator := chromedp.NewExecAllocator(ctx, browserOptions()...)
	defer cancelAllocator()
	tab := newTab(allocator, t)
	joinAsAlice(tab, t, url)
	if err := chromedp.Do(tab, chromedp.WaitVisible(css("#commands"))); err != nil {
		t.Fatal(err)
	}
	shown, err := chromedp.Run(tab, chromedp.Evaluate[string](`document.getElementById("commands").textContent`))
	if err != nil {
		t.Fatal(err)
	}
	commands := strings.Split(shown, "\n")
	if len(commands) != 2 || !strings.HasPrefix(commands[0], "boreas push ") || !strings.HasPrefix(commands[1], "curl ") {
		t.Fatalf("the page shows the commands\n%s", shown)
	}
	greeting, err := os.ReadFile(printed)
	if err != nil {
		t.Fatal(err)
	}
	for _, command := range commands {
		if !strings.Contains(string(greeting), "\n    "+command+"\n") {
			t.Errorf("boreas dev did not print %s", command)
		}
	}

	push := func() {
		t.Helper()
		for _, command := range commands {
			shell := exec.CommandContext(ctx, "sh", "-c", command)
			shell.Env = append(os.Environ(), "PATH="+filepath.Dir(program)+string(filepath.ListSeparator)+os.Getenv("PATH"))
			if out, err := shell.CombinedOutput(); err != nil {
				t.Fatalf("%s: %v\n%s", command, err, out)
			}
		}
	}
	const notices = `[...document.querySelectorAll("#notices li")].map((li) => li.textContent).join("; ")`
	const once = "hi from boreas push; hi from curl"
	push()
	awaitTrue(tab, t, "the page shows both", notices+` === "`+once+`"`)

	before, err := chromedp.Run(tab, chromedp.Evaluate[string](socket))
	if err != nil {
		t.Fatal(err)
	}
	if err := chromedp.Do(tab, chromedp.Click(css("#kill"))); err != nil {
		t.Fatal(err)
	}
	awaitTrue(tab, t, "alice is back",
		`document.getElementById("state").dataset.state === "joined" && !["–", "`+before+`"].includes(`+socket+`)`)
	push()
	awaitTrue(tab, t, "the page shows both again", notices+` === "`+once+"; "+once+`"`)
}
