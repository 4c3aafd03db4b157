package link

import "time"

// Stats are the numbers of one link. Counters count since the link was made.
type Stats struct {
	FramesSent     uint64 // accepted by Send and SendControl
	BatchesSent    uint64 // batches that left for the first time
	BytesSent      uint64 // of those batches
	Retransmitted  uint64 // batches that left again
	Probes         uint64 // questions to a silent or unsubscribed peer
	FramesReceived uint64 // handed to the Handler
	BytesReceived  uint64 // of those frames
	Duplicates     uint64 // frames that had arrived before
	Gaps           uint64 // times that missing frames were noticed
	Rejected       uint64 // datagrams of the peer that were not used
	Resets         uint64
	Generation     uint64        // 1 + the highest number of resets known to either side
	UnackedFrames  int           // accepted and not yet acknowledged
	UnackedBytes   int           // in bytes
	Waiting        int           // Sends that are blocked
	HeldBytes      int           // received out of order, in bytes
	Unsubscribed   bool          // the bus says that the peer does not listen
	RTT            time.Duration // the last measurement; 0: none yet
}

// MeshStats are the numbers of a whole mesh.
type MeshStats struct {
	Links    int                  // links in memory, forgotten ones included
	Rejected map[Rejection]uint64 // datagrams that were not used, by reason
}
