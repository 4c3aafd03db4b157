package router

import (
	"encoding/json"
	"fmt"
)

// RouteLimits are what gateways check of the messages of a public route before
// they send them on. The zero value is no limit.
type RouteLimits struct {
	Rate     float64 `json:",omitempty"` // messages per second of one socket; see WithRate
	Burst    int     `json:",omitempty"` // messages at once
	MaxBytes int     `json:",omitempty"` // see WithMaxBytes
	Schema   string  `json:",omitempty"` // a JSON Schema; see WithSchema
}

// LimitOption is made by [WithRate], [WithMaxBytes] and [WithSchema].
type LimitOption struct{ set func(*RouteLimits) }

func (LimitOption) isRouteOption() {}

// WithRate lets each socket send perSecond messages a second to a public route, and
// burst at once; a burst of 0 stands for two seconds' worth. Gateways answer what is
// over it with the error rate_limited. The limit counts per route as it was bound,
// whatever the path's parameters are.
func WithRate(perSecond float64, burst int) LimitOption {
	return LimitOption{func(l *RouteLimits) { l.Rate, l.Burst = perSecond, burst }}
}

// WithMaxBytes bounds the messages to a public route, the envelope included, below
// the gateway's own limit. Gateways answer larger ones with the error validation.
func WithMaxBytes(n int) LimitOption {
	return LimitOption{func(l *RouteLimits) { l.MaxBytes = n }}
}

// WithSchema declares a JSON Schema (draft 2020-12 unless its $schema says another)
// for the data of a public route. Gateways check it: data that does not fit never
// reaches the service and is answered with the error validation, whose fields name
// what is wrong. It holds for JSON and MessagePack; clients that speak Protobuf
// cannot use such a route. A message without a path, which continues a
// conversation, is not checked.
//
// schema is the text of the schema as a string, []byte or json.RawMessage, or any
// value that encoding/json makes the schema of; WithSchema panics if it cannot. The
// schema itself is checked when the service starts. References may point into the
// same schema only.
func WithSchema(schema any) LimitOption {
	var text string
	switch s := schema.(type) {
	case string:
		text = s
	case []byte:
		text = string(s)
	case json.RawMessage:
		text = string(s)
	default:
		b, err := json.Marshal(schema)
		if err != nil {
			panic(fmt.Sprintf("router: WithSchema: %v", err))
		}
		text = string(b)
	}
	return LimitOption{func(l *RouteLimits) { l.Schema = text }}
}
