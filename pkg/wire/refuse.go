package wire

// Refuse answers an Open that the node cannot accept. Closed and Release have no
// body.
type Refuse struct {
	Code   ErrorCode
	Reason string // for logs
}

// Append writes the body.
func (r Refuse) Append(b []byte) []byte {
	return appendString(appendString(b, string(r.Code)), r.Reason)
}

// ParseRefuse reads the body of a Refuse frame.
func ParseRefuse(body []byte) (Refuse, error) {
	f := fields{rest: body}
	r := Refuse{Code: ErrorCode(f.string()), Reason: f.string()}
	return r, f.end()
}
