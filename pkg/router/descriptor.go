package router

import "encoding/json"

// RouteDescriptor describes one public route, for gateways.
type RouteDescriptor struct {
	Pattern *Pattern
	// Metadata is what WithMetadata attached to the route. After a JSON round trip
	// it is a json.RawMessage.
	Metadata any
}

type descriptorJSON struct {
	Pattern  string `json:"Pattern"`
	Metadata any    `json:"Metadata,omitempty"`
}

// MarshalJSON writes {"Pattern": ..., "Metadata": ...}.
func (d *RouteDescriptor) MarshalJSON() ([]byte, error) {
	return json.Marshal(descriptorJSON{d.Pattern.String(), d.Metadata})
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
	d.Pattern = p
	if len(raw) > 0 {
		d.Metadata = raw
	}
	return nil
}
