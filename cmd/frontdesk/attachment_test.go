package main

import (
	"bytes"
	"fmt"
	"image"
	"image/png"
	"net/http"
	"strings"
	"testing"
	"time"

	"frontdesk/bot/wasim"
)

func TestVoiceNotesAndPicturesAreAnsweredByWhatTheyHold(t *testing.T) {
	t.Parallel()
	r := newRig(t, nil)
	r.start()
	for name, capabilities := range map[string][]string{"eyes": {"streaming", "vision"}, "ear": {"transcription"}} {
		var p item
		if status := r.api(http.MethodPost, "/api/v1/providers", map[string]any{
			"name": name, "base_url": r.ai.url(), "model": name, "capabilities": capabilities, "key": "sk-test-0000",
		}, &p); status != http.StatusCreated {
			t.Fatalf("adding %s answered %d", name, status)
		}
		r.api(http.MethodPost, fmt.Sprintf("/api/v1/providers/%d/test", p.ID), nil, nil) // it is known here afterwards
	}
	r.quick(r.pair(phone), 0)
	customer := r.wa.Customer("12025550333")
	var picture bytes.Buffer
	must(t, png.Encode(&picture, image.NewGray(image.Rect(0, 0, 20, 10))))
	for _, c := range []struct {
		file wasim.Media
		want string
	}{
		{wasim.Media{Kind: wasim.Audio, Voice: true, Mime: "audio/ogg; codecs=opus", Data: []byte("OggS and what follows"), Seconds: 2}, "[voice] seven tulips"},
		{wasim.Media{Kind: wasim.Image, Mime: "image/png", Data: picture.Bytes(), Caption: "these?"}, "these? seen data:image/jpeg"},
	} {
		_, err := customer.SendMedia(deadline(t, time.Minute), phone, c.file)
		must(t, err)
		eventually(t, time.Minute, "the answer to "+c.want, func() bool {
			all := customer.Messages(phone)
			last := all[len(all)-1]
			return !last.FromCustomer && strings.Contains(last.Text, c.want)
		})
	}
	var messages struct{ Items []struct{ Transcript string } }
	r.api(http.MethodGet, "/api/v1/conversations/1/messages", nil, &messages)
	if messages.Items[0].Transcript != "seven tulips" {
		t.Errorf("the API shows %+v", messages.Items)
	}
}
