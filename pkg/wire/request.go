package wire

// Request is a question from one node to another, outside of any stream. The
// header's stream id numbers it among all that its sender's incarnation asked.
type Request struct {
	Op   string // what answers it
	Body []byte // aliases the parsed frame
}

// Append writes the body.
func (r Request) Append(b []byte) []byte { return append(appendString(b, r.Op), r.Body...) }

// ParseRequest reads the body of a Request frame.
func ParseRequest(body []byte) (Request, error) {
	f := fields{rest: body}
	r := Request{Op: f.string()}
	if f.err != nil {
		return Request{}, f.err
	}
	r.Body = f.rest
	return r, nil
}

// Response answers a Request, with the same number.
type Response struct {
	Error string // "" if there is an answer
	Body  []byte // aliases the parsed frame
}

// Append writes the body.
func (r Response) Append(b []byte) []byte { return append(appendString(b, r.Error), r.Body...) }

// ParseResponse reads the body of a Response frame.
func ParseResponse(body []byte) (Response, error) {
	f := fields{rest: body}
	r := Response{Error: f.string()}
	if f.err != nil {
		return Response{}, f.err
	}
	r.Body = f.rest
	return r, nil
}
