package load

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
)

// maxTicketAnswer bounds what is read of an answer, in bytes.
const maxTicketAnswer = 64 << 10

// Tickets returns a Config.Credential that has a ticket made for each connection,
// for the users bench-0, bench-1 and so on. url is where a gateway makes tickets,
// key is the key of its internal listener, "" for none.
func Tickets(url, key string) func(ctx context.Context, i int) (string, error) {
	return func(ctx context.Context, i int) (string, error) {
		body, err := json.Marshal(map[string]string{"user": fmt.Sprintf("bench-%d", i)})
		if err != nil {
			return "", err
		}
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(body))
		if err != nil {
			return "", err
		}
		req.Header.Set("Content-Type", "application/json")
		if key != "" {
			req.Header.Set("Authorization", "Bearer "+key)
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			return "", err
		}
		defer resp.Body.Close()
		answer, err := io.ReadAll(io.LimitReader(resp.Body, maxTicketAnswer))
		if err != nil {
			return "", err
		}
		var made struct {
			Ticket string `json:"ticket"`
		}
		if err := json.Unmarshal(answer, &made); err != nil || resp.StatusCode/100 != 2 || made.Ticket == "" {
			return "", fmt.Errorf("no ticket: %s", resp.Status)
		}
		return "boreas.ticket." + made.Ticket, nil
	}
}
