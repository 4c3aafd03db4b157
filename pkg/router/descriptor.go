package router

import "encoding/json"

// RouteDescriptor describes one public route, for gateways.
type RouteDescriptor struct {
	Pattern *Pattern
	// Metadata is what WithMetadata attached to the route. After a JSON round trip
	// it is a json.RawMessage.
	Metadata any
	// Limits are what gateways check of the route's messages.
	Limits RouteLimits
}

type descriptorJSON struct {
	Pattern  string      `json:"Pattern"`
	Metadata any         `json:"Metadata,omitempty"`
	Limits   RouteLimits `json:"Limits,omitzero"`
}

// MarshalJSON writes {"Pattern": ..., "Metadata": ..., "Limits": ...}.
func (d *RouteDescriptor) MarshalJSON() ([]byte, error) {
	return json.Marshal(descriptorJSON{d.Pattern.String(), d.Metadata, d.Limits})
}

// UnmarshalJSON reads what MarshalJSON wrote.
func (d *RouteDescriptor) UnmarshalJSON(b []byte) error {
	var raw json.RawMessage
	in := descriptorJSON{Metadata: &raw}
	if err := json.Unmarshal(b, &in); err != nil {
		return err
	}
	p, err := NewPattern(in.Pattern)
	if err != nil {
		return err
	}
	d.Pattern, d.Limits = p, in.Limits
	if len(raw) > 0 {
		d.Metadata = raw
	}
	return nil
}
