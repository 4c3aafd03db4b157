package redisbus

import "strings"

// slots is the number of slots of every Redis Cluster.
const slots = 16384

// slotOf returns the slot of a key or channel: the CRC16 of its part in braces, if
// it has one. See https://redis.io/docs/latest/operate/oss_and_stack/reference/cluster-spec/.
func slotOf(key string) int {
	if open := strings.IndexByte(key, '{'); open >= 0 {
		if n := strings.IndexByte(key[open+1:], '}'); n > 0 {
			key = key[open+1 : open+1+n]
		}
	}
	crc := uint16(0)
	for i := range len(key) {
		crc ^= uint16(key[i]) << 8
		for range 8 {
			if crc&0x8000 != 0 {
				crc = crc<<1 ^ 0x1021
			} else {
				crc <<= 1
			}
		}
	}
	return int(crc) % slots
}
