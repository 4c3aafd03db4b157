package gateway

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/vmihailenco/msgpack/v5"

	"github.com/boreas-ws/boreas/pkg/envelope"
	"github.com/boreas-ws/boreas/pkg/quota"
	"github.com/boreas-ws/boreas/pkg/wire"
)

// LatencyPath is the path of a client's messages about the latency that it sees.
// They never reach a service.
//
//	client  -> {"path":"/$latency","id":"1","data":{"ms":12.5}}
//	gateway -> {"id":"1","data":{}}
//
// Without an id there is no answer, unless it is an error. The data is in the
// connection's encoding; with Protobuf it is a JSON text.
const LatencyPath = "/$latency"

// maxReported is the largest latency that a client may report.
const maxReported = time.Minute

// reservedPrefix begins the paths that are the gateway's own.
var reservedPrefix = []byte("/$")

// reserved handles a message whose path is the gateway's own.
func (c *conn) reserved(head envelope.Head) ending {
	switch string(head.Path) {
	case AuthPath:
		c.renew(head)
		return ending{}
	case LatencyPath:
		return c.report(head)
	default:
		return c.refuse(head.ID, &envelope.Failure{Code: wire.CodeNoRoute, Message: "paths that begin with /$ are the gateway's own, and this is none of them"})
	}
}

// report takes a client's word for its latency.
func (c *conn) report(head envelope.Head) ending {
	l := c.limiter()
	if wait := l.reports.Take(c.g.cfg.ReportRate, 1, c.clock()); wait > 0 {
		return c.refuse(head.ID, c.limited(ScopeSocket, LimitReportRate, wait))
	}
	latency, err := decodeReport(c.encoding, head.Data)
	if err != nil {
		return c.refuse(head.ID, &envelope.Failure{Code: wire.CodeValidation, Message: err.Error()})
	}
	l.passed++
	c.g.hooks.Reported(latency)
	if len(head.ID) > 0 {
		c.answer(c.encoding.AppendMessage(nil, envelope.Message{ID: string(head.ID), Data: encodeData(c.encoding, struct{}{})}))
	}
	return ending{}
}

// decodeReport reads the data of a client's message to LatencyPath.
func decodeReport(e envelope.Encoding, data []byte) (time.Duration, error) {
	var r struct {
		MS *float64 `json:"ms" msgpack:"ms"`
	}
	var err error
	if e == envelope.MsgPack {
		err = msgpack.Unmarshal(data, &r)
	} else {
		err = json.Unmarshal(data, &r)
	}
	if err != nil || r.MS == nil {
		return 0, errors.New("the data has no number ms")
	}
	if !(*r.MS >= 0 && *r.MS <= float64(maxReported.Milliseconds())) { // nor is it NaN
		return 0, fmt.Errorf("ms must be between 0 and %d", maxReported.Milliseconds())
	}
	return time.Duration(*r.MS * float64(time.Millisecond)), nil
}

// isReserved reports whether a path is the gateway's own.
func isReserved(path []byte) bool { return bytes.HasPrefix(path, reservedPrefix) }

// DefaultReportRate is the default of Config.ReportRate.
func DefaultReportRate() quota.Rate { return quota.Rate{PerSecond: 1, Burst: 10} }
