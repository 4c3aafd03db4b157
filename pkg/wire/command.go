package wire

import (
	"encoding/binary"
	"fmt"
)

// CommandOp is what a handler asks the gateway to do with its socket.
type CommandOp byte

// The operations.
const (
	OpJoin    CommandOp = 1 // join the group Name
	OpLeave   CommandOp = 2 // leave the group Name
	OpSetUser CommandOp = 3 // the socket belongs to the user Name; "" to nobody
	OpWatch   CommandOp = 4 // tell the client who is in the group Name, under Path
	OpUnwatch CommandOp = 5 // not any more
)

// Command asks the socket's gateway for something. It travels on the socket's
// stream from the acceptor, in order with its Data, and is answered by a
// CommandResult with the same number, which has the same kind and travels the
// other way.
type Command struct {
	Number uint64
	Op     CommandOp
	Name   string
	Path   string // of OpWatch only
}

// Append writes the body.
func (c Command) Append(b []byte) []byte {
	b = append(binary.AppendUvarint(b, c.Number), byte(c.Op))
	b = appendString(b, c.Name)
	if c.Op == OpWatch {
		b = appendString(b, c.Path)
	}
	return b
}

// ParseCommand reads the body of a Command frame.
func ParseCommand(body []byte) (Command, error) {
	f := fields{rest: body}
	c := Command{Number: f.uvarint(), Op: CommandOp(f.byte()), Name: f.string()}
	if c.Op == OpWatch {
		c.Path = f.string()
	}
	if err := f.end(); err != nil {
		return Command{}, err
	}
	if c.Op < OpJoin || c.Op > OpUnwatch {
		return Command{}, fmt.Errorf("%w: command %d", ErrFrame, c.Op)
	}
	return c, nil
}

// CommandResult answers a Command.
type CommandResult struct {
	Number uint64
	Error  string // "" if it was done
}

// Append writes the body.
func (r CommandResult) Append(b []byte) []byte {
	return appendString(binary.AppendUvarint(b, r.Number), r.Error)
}

// ParseCommandResult reads the body of a CommandResult frame.
func ParseCommandResult(body []byte) (CommandResult, error) {
	f := fields{rest: body}
	r := CommandResult{Number: f.uvarint(), Error: f.string()}
	return r, f.end()
}
