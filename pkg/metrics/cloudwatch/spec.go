package cloudwatch

import (
	"slices"

	"github.com/boreas-ws/boreas/pkg/metrics"
)

// kind is how a metric is made of instruments.
type kind uint8

const (
	delta   kind = iota // growth of counters since the last report
	level               // sum of gauges
	latency             // what histograms have counted since the last report, in ms
)

// Metric is a metric in CloudWatch. The names are those of AWS's own metrics for
// WebSocket APIs where there are such.
type Metric struct {
	Name, Unit, Help string
	// Chart is the title of the dashboard's chart that shows it, and Stats are the
	// statistics there.
	Chart string
	Stats []string
	// Sources are the instruments that it is the sum of.
	Sources []Source

	kind  kind
	scale float64
}

// Source is an instrument, or those of its series of which a label has one of some
// values, or none of them.
type Source struct {
	Instrument, Label string
	Of, Except        []string
}

func all(names ...string) (list []Source) {
	for _, n := range names {
		list = append(list, Source{Instrument: n})
	}
	return list
}

func (s Source) takes(f metrics.Family, series metrics.Series) bool {
	i := slices.Index(f.Labels, s.Label)
	if i < 0 {
		return true
	}
	v := series.Labels[i]
	return !slices.Contains(s.Except, v) && (s.Of == nil || slices.Contains(s.Of, v))
}

var (
	failing = []string{"unavailable", "instance_lost"}
	ours    = []string{"draining", "not_ready", "too_many"}

	sum = []string{"Sum"}
)

// Metrics are all metrics, in the order of the dashboard.
var Metrics = []Metric{
	{"ActiveConnections", "Count", "Clients that are connected. Sum over one interval for all gateways.", "Sockets", []string{"Sum", "Maximum"}, all("boreas_gateway_sockets", "boreas_service_sockets"), level, 1},
	{"ConnectCount", "Count", "Clients that connected.", "Sockets", sum, all("boreas_gateway_sockets_opened_total", "boreas_service_sockets_opened_total"), delta, 1},
	{"UnexpectedDisconnects", "Count", "Connections that ended although neither client, service nor operator ended them.", "Sockets", sum, all("boreas_gateway_unexpected_disconnects_total"), delta, 1},
	{"MessagesTotal", "Count", "Messages of clients.", "Messages", sum, all("boreas_gateway_messages_received_total", "boreas_service_messages_received_total"), delta, 1},
	{"MessagesDelivered", "Count", "Messages that were written to clients; from a service: sent to them.", "Messages", sum, all("boreas_gateway_messages_sent_total", "boreas_service_messages_sent_total"), delta, 1},
	{"MessageCount", "Count", "Messages in both directions.", "Messages", sum, all("boreas_gateway_messages_received_total", "boreas_gateway_messages_sent_total"), delta, 1},
	{"DroppedMessages", "Count", "Messages of services and pushes that did not reach their client.", "Errors", sum, all("boreas_gateway_messages_dropped_total", "boreas_push_sockets_dropped_total"), delta, 1},
	{"AverageLatencyMs", "Milliseconds", "From reading a message to writing the reply; from a service: the time of handlers.", "Latency", []string{"Average", "p50", "p99"}, all("boreas_gateway_request_duration_seconds", "boreas_service_handler_duration_seconds"), latency, 1000},
	{"IntegrationLatency", "Milliseconds", "From reading a message to the arrival of the service's reply.", "Latency", []string{"p50", "p99"}, all("boreas_gateway_integration_duration_seconds"), latency, 1000},
	{"ClientError", "Count", "Handshakes and messages that were refused because of the client.", "Errors", sum, []Source{
		{Instrument: "boreas_gateway_handshakes_refused_total", Label: "reason", Except: ours},
		{Instrument: "boreas_gateway_messages_rejected_total", Label: "code", Except: append([]string{"internal"}, failing...)},
	}, delta, 1},
	{"IntegrationError", "Count", "Messages that no instance of their service could be found for.", "Errors", sum, []Source{
		{Instrument: "boreas_gateway_messages_rejected_total", Label: "code", Of: failing},
	}, delta, 1},
	{"ExecutionError", "Count", "Messages and connections that failed in the gateway.", "Errors", sum, []Source{
		{Instrument: "boreas_gateway_messages_rejected_total", Label: "code", Of: []string{"internal"}},
		{Instrument: "boreas_gateway_sockets_closed_total", Label: "reason", Of: []string{"internal", "overrun"}},
	}, delta, 1},
	{"LinkRetransmits", "Count", "Batches that were sent again.", "Links and Redis", sum, all("boreas_link_retransmits_total"), delta, 1},
	{"LinkResets", "Count", "Resets of links.", "Links and Redis", sum, all("boreas_link_resets_total"), delta, 1},
	{"CanaryAgeMs", "Milliseconds", "How long ago the node was last known to reach Redis.", "Links and Redis", []string{"Maximum"}, all("boreas_bus_canary_age_seconds"), level, 1000},
}
