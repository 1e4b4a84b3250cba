package bot

import (
	"bufio"
	"encoding/binary"
	"errors"
	"io"
)

// ErrNoVoice says that a file cannot be sent as a voice note.
var ErrNoVoice = errors.New("a voice note is OGG with Opus; convert the file with: ffmpeg -i FILE -c:a libopus -b:a 32k -ac 1 voice.ogg")

// Voice is what WhatsApp shows of a voice note.
type Voice struct {
	Seconds  int
	Waveform []byte // 64 heights of 0 to 100
}

// Figures of Ogg (RFC 3533) and of Opus in Ogg (RFC 7845).
const (
	oggHeader   = 27
	opusRate    = 48_000 // granules a second, whatever the rate of the recording
	waveHeights = 64
	mostPackets = 1 << 20
)

// ReadVoice reads an OGG file with Opus. The waveform is made of the sizes of its
// packets: Opus spends more bytes where there is more to hear, and nothing has to
// be decoded. ErrNoVoice when it is another format.
func ReadVoice(r io.Reader) (Voice, error) {
	pages := bufio.NewReader(r)
	var sizes []int
	var granules int64
	open := 0 // bytes of a packet that goes on in the next page
	for first := true; ; first = false {
		segments, granule, err := oggPage(pages, first)
		if errors.Is(err, io.EOF) && !first {
			break
		}
		if err != nil || len(sizes) > mostPackets {
			return Voice{}, ErrNoVoice
		}
		if granule > 0 {
			granules = granule
		}
		for _, length := range segments {
			open += int(length)
			if length < 255 {
				sizes, open = append(sizes, open), 0
			}
		}
	}
	if len(sizes) < 3 || granules == 0 { // two packets are headers
		return Voice{}, ErrNoVoice
	}
	return Voice{Seconds: int((granules + opusRate - 1) / opusRate), Waveform: waveform(sizes[2:])}, nil
}

// oggPage reads one page: the lengths of its segments and its granule position.
func oggPage(r *bufio.Reader, first bool) (segments []byte, granule int64, err error) {
	head := make([]byte, oggHeader)
	if _, err := io.ReadFull(r, head); err != nil {
		return nil, 0, err
	}
	if string(head[:4]) != "OggS" {
		return nil, 0, ErrNoVoice
	}
	segments = make([]byte, head[26])
	if _, err := io.ReadFull(r, segments); err != nil {
		return nil, 0, ErrNoVoice
	}
	body := 0
	for _, length := range segments {
		body += int(length)
	}
	if magic, err := r.Peek(8); first && (err != nil || string(magic) != "OpusHead") {
		return nil, 0, ErrNoVoice
	}
	if _, err := r.Discard(body); err != nil {
		return nil, 0, ErrNoVoice
	}
	return segments, int64(binary.LittleEndian.Uint64(head[6:14])), nil
}

// waveform spreads the sizes of packets over the heights that WhatsApp shows.
func waveform(sizes []int) []byte {
	heights := make([]byte, waveHeights)
	most := 1
	sums := make([]int, waveHeights)
	for n := range sums {
		from, to := n*len(sizes)/waveHeights, max((n+1)*len(sizes)/waveHeights, n*len(sizes)/waveHeights+1)
		for _, size := range sizes[from:min(to, len(sizes))] {
			sums[n] = max(sums[n], size)
		}
		most = max(most, sums[n])
	}
	for n, sum := range sums {
		heights[n] = byte(100 * sum / most)
	}
	return heights
}
