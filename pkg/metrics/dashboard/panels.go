// Package dashboard makes dashboards of the instruments of package metrics, for Grafana
// and for Amazon CloudWatch, and alarms for the latter.
package dashboard

// Panel is one chart.
type Panel struct {
	Title   string
	Unit    string // as Grafana calls it
	Queries []Query
}

// Query is one line, or one for each value of the labels it is grouped by.
type Query struct{ Expr, Legend string }

// Row is a group of panels.
type Row struct {
	Title  string
	Panels []Panel
}

// rate is how fast counters grow, over all processes.
func rate(name, by string) Query {
	return Query{"sum by (" + by + ") (rate(" + name + "[$__rate_interval]))", legend(by)}
}

// now is a gauge, over all processes.
func now(name, by string) Query { return Query{"sum by (" + by + ") (" + name + ")", legend(by)} }

func legend(by string) string {
	if by == "" {
		return "all"
	}
	return "{{" + by + "}}"
}

// quantile of the classic buckets of a histogram.
func quantile(q, name string) Query {
	return Query{"histogram_quantile(" + q + ", sum by (le) (rate(" + name + "_bucket[$__rate_interval])))", "p" + q[2:]}
}

func quantiles(title, name string) Panel {
	return Panel{title, "s", []Query{quantile("0.50", name), quantile("0.90", name), quantile("0.99", name)}}
}

// Rows are the panels, in their order.
var Rows = []Row{
	{"Clients", []Panel{
		{"Sockets", "short", []Query{now("boreas_gateway_sockets", "gateway")}},
		{"Opened and closed per second", "short", []Query{rate("boreas_gateway_sockets_opened_total", "gateway"), rate("boreas_gateway_sockets_closed_total", "reason")}},
		{"Unexpected disconnects per second", "short", []Query{rate("boreas_gateway_unexpected_disconnects_total", "reason")}},
		{"Handshakes refused per second", "short", []Query{rate("boreas_gateway_handshakes_refused_total", "reason")}},
	}},
	{"Messages", []Panel{
		{"From clients per second", "short", []Query{rate("boreas_gateway_messages_received_total", "service")}},
		{"To clients per second", "short", []Query{rate("boreas_gateway_messages_sent_total", "gateway")}},
		{"Bytes per second", "Bps", []Query{rate("boreas_gateway_received_bytes_total", "gateway"), rate("boreas_gateway_sent_bytes_total", "gateway")}},
		{"Rejected and dropped per second", "short", []Query{rate("boreas_gateway_messages_rejected_total", "code"), rate("boreas_gateway_messages_dropped_total", "gateway")}},
	}},
	{"Latency", []Panel{
		quantiles("From message to reply", "boreas_gateway_request_duration_seconds"),
		{"p99 by route", "s", []Query{{"histogram_quantile(0.99, sum by (le, route) (rate(boreas_gateway_request_duration_seconds_bucket[$__rate_interval])))", "{{route}}"}}},
		quantiles("In the gateway's queue", "boreas_gateway_queue_duration_seconds"),
		quantiles("Over the link and back", "boreas_link_rtt_seconds"),
		quantiles("In the service's queue", "boreas_service_queue_duration_seconds"),
		quantiles("In handlers", "boreas_service_handler_duration_seconds"),
		quantiles("As clients report it", "boreas_gateway_client_latency_seconds"),
		quantiles("Waiting for a slow service", "boreas_gateway_credit_wait_seconds"),
		quantiles("Pinning", "boreas_gateway_pin_duration_seconds"),
	}},
	{"Services", []Panel{
		{"Sockets", "short", []Query{now("boreas_service_sockets", "service")}},
		{"Instances", "short", []Query{{"max by (service, state) (boreas_registry_instances)", "{{service}} {{state}}"}}},
		{"Pins, most less fewest", "short", []Query{{"max by (service) (boreas_registry_pin_spread)", "{{service}}"}}},
		{"Panics and turn timeouts per second", "short", []Query{rate("boreas_service_handler_panics_total", "service"), rate("boreas_service_turn_timeouts_total", "service")}},
	}},
	{"Links and Redis", []Panel{
		{"Frames in flight", "short", []Query{now("boreas_link_in_flight_frames", "instance")}},
		{"Retransmits, gaps, resets per second", "short", []Query{rate("boreas_link_retransmits_total", "instance"), rate("boreas_link_gaps_total", "instance"), rate("boreas_link_resets_total", "cause")}},
		quantiles("PUBLISH", "boreas_bus_publish_duration_seconds"),
		{"Age of the canary", "s", []Query{{"max by (instance) (boreas_bus_canary_age_seconds)", "{{instance}}"}}},
		{"What is left of leases", "s", []Query{{"min by (instance) (boreas_registry_lease_margin_seconds)", "{{instance}}"}}},
		{"Scripts, p99", "s", []Query{{"histogram_quantile(0.99, sum by (le, script) (rate(boreas_registry_script_duration_seconds_bucket[$__rate_interval])))", "{{script}}"}}},
		{"Script errors per second", "short", []Query{rate("boreas_registry_script_errors_total", "script")}},
		{"Goroutines", "short", []Query{now("boreas_process_goroutines", "instance")}},
	}},
}
