// Package browser tests the page of `boreas dev` in a real headless Chromium. It
// has tests only.
package browser
