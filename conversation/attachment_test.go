package conversation_test

import (
	"bytes"
	"context"
	"errors"
	"image"
	"image/jpeg"
	"image/png"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"frontdesk/providers"
	"frontdesk/store"
)

// asked is the last message of a prompt before the clock.
func asked(q providers.Request) providers.Message {
	all := q.Prompt(providers.Room{ContextTokens: 128_000})
	return all[len(all)-2]
}

func TestVoiceNoteIsAnsweredByWhatIsSaidInItAndHeardOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(t, nil)
		d.hear = func(q providers.Speech) (providers.Answer, error) {
			if string(q.Audio) != "opus" || q.Name != "note.ogg" {
				t.Errorf("heard %q in %s", q.Audio, q.Name)
			}
			return providers.Answer{Text: "Do you sell tulips?", Provider: "ear"}, nil
		}
		var prompts []string
		d.think = func(_ context.Context, q providers.Request) (providers.Answer, error) {
			prompts = append(prompts, asked(q).Text)
			if len(prompts) == 1 {
				d.store(1, "and roses?", 0) // the draft is obsolete
			}
			return providers.Answer{Text: "Yes."}, nil
		}
		d.start()
		began := time.Now()
		d.bring(1, "voice", "audio/ogg; codecs=opus", []byte("opus"), 3*time.Second)
		pass(30 * time.Second)
		if len(prompts) != 2 || prompts[0] != "[voice] Do you sell tulips?" || prompts[1] != "and roses?" || d.heard != 1 {
			t.Errorf("prompts ended with %q; heard %d times", prompts, d.heard)
		}
		if got := d.answers(1); len(got) != 1 || time.Since(began) < 3*time.Second {
			t.Errorf("answered %q", got)
		}
		d.close()
	})
}

func TestAnswerWaitsForAVoiceNoteTwentySecondsAtMost(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(t, nil)
		var at time.Time
		var prompt string
		d.think = func(_ context.Context, q providers.Request) (providers.Answer, error) {
			at, prompt = time.Now(), asked(q).Text
			return providers.Answer{Text: "Please write."}, nil
		}
		d.start()
		began := time.Now()
		d.bring(1, "voice", "audio/ogg", nil, time.Hour)
		pass(time.Minute)
		if took := at.Sub(began); took < 20*time.Second || took > 21*time.Second || prompt != "[voice that could not be heard]" {
			t.Errorf("after %v the model read %q", took, prompt)
		}
		d.close()
	})
}

func TestVoiceNoteThatNobodyUnderstandsIsNamedAndAnswered(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(t, nil)
		d.hear = func(providers.Speech) (providers.Answer, error) {
			return providers.Answer{}, errors.New("nobody is able")
		}
		var prompt string
		d.think = func(_ context.Context, q providers.Request) (providers.Answer, error) {
			prompt = asked(q).Text
			return providers.Answer{Text: "Please write."}, nil
		}
		d.start()
		d.bring(1, "voice", "audio/ogg", []byte("opus"), 0)
		pass(time.Second)
		if got := d.answers(1); len(got) != 1 || prompt != "[voice that could not be heard]" || d.log.count("File of a customer not understood") != 1 {
			t.Errorf("the model read %q and said %q", prompt, got)
		}
		d.close()
	})
}

func TestNewestTwoPicturesAreShownSmallAndOthersNamed(t *testing.T) {
	t.Parallel()
	var large, broken bytes.Buffer
	if err := png.Encode(&large, image.NewGray(image.Rect(0, 0, 2000, 500))); err != nil {
		t.Fatal(err)
	}
	broken.WriteString("no picture")
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(t, nil)
		var lines []providers.Message
		d.think = func(_ context.Context, q providers.Request) (providers.Answer, error) {
			lines = q.Prompt(providers.Room{ContextTokens: 128_000})
			return providers.Answer{Text: "Nice."}, nil
		}
		d.change(1, func(r *row) { r.State = store.StateHuman })
		d.start()
		d.change(1, func(r *row) { r.State = store.StateBot })
		d.store(1, "look", time.Minute)
		for _, data := range [][]byte{large.Bytes(), large.Bytes(), broken.Bytes(), large.Bytes()} {
			d.bring(1, "image", "image/png", data, 0)
		}
		d.change(1, func(r *row) { r.dueAt = time.Now() })
		d.p.Wake(1, 1, 0)
		pass(5 * time.Second)
		if len(lines) != 7 {
			t.Fatalf("the prompt has %d messages", len(lines))
		}
		first, second, third, fourth := lines[2], lines[3], lines[4], lines[5]
		if first.Text != "[image]" || len(first.Images)+len(third.Images) != 0 || len(second.Images) != 1 || third.Text != "[image]" {
			t.Errorf("older pictures: %+v, %+v, %+v", first.Text, second.Text, third.Text)
		}
		if len(fourth.Images) != 1 || fourth.Images[0].Mime != "image/jpeg" {
			t.Fatalf("the newest picture: %+v", fourth)
		}
		size, err := jpeg.DecodeConfig(bytes.NewReader(fourth.Images[0].Data))
		if err != nil || size.Width != 1568 || size.Height != 392 {
			t.Errorf("it is %d × %d, %v", size.Width, size.Height, err)
		}
		d.close()
	})
}

func TestPlainTextIsReadAndCutAtAWholeCharacter(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(t, nil)
		var prompt string
		d.think = func(_ context.Context, q providers.Request) (providers.Answer, error) {
			prompt = asked(q).Text
			return providers.Answer{Text: "Thank you."}, nil
		}
		d.start()
		d.bring(1, "document", "text/plain; charset=utf-8", []byte("x"+strings.Repeat("é", 10_000)), 0)
		pass(time.Second)
		if want := "[document] x" + strings.Repeat("é", 8191); prompt != want {
			t.Errorf("the model read %d bytes ending in %q, want %d", len(prompt), prompt[max(0, len(prompt)-4):], len(want))
		}
		d.close()
	})
}

func TestPDFOfACustomerIsReadAndABrokenOneNamed(t *testing.T) {
	t.Parallel()
	pdf, err := os.ReadFile("testdata/hours.pdf")
	must(t, err)
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(t, nil)
		var prompts []string
		d.think = func(_ context.Context, q providers.Request) (providers.Answer, error) {
			prompts = append(prompts, asked(q).Text)
			return providers.Answer{Text: "Thank you."}, nil
		}
		d.start()
		d.bring(1, "document", "application/pdf", pdf, 0)
		pass(time.Second)
		d.bring(1, "document", "application/pdf", pdf[:len(pdf)/3], 0)
		pass(time.Second)
		if len(prompts) != 2 || !strings.HasPrefix(prompts[0], "[document] Opening hours") || prompts[1] != "[document]" {
			t.Errorf("the model read %q", prompts)
		}
		d.close()
	})
}

func TestNewestTwoDocumentsAreReadAndOthersNamed(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(t, nil)
		var lines []providers.Message
		d.think = func(_ context.Context, q providers.Request) (providers.Answer, error) {
			lines = read(q)
			return providers.Answer{Text: "Thank you."}, nil
		}
		d.p.Wake(1, 1, time.Hour)
		for _, text := range []string{"first", "second", "third"} {
			d.bring(1, "document", "text/plain", []byte(text), 0)
		}
		d.start()
		pass(time.Minute)
		var said []string
		for _, l := range lines[1 : len(lines)-1] {
			said = append(said, l.Text)
		}
		if want := "[document]|[document] second|[document] third"; strings.Join(said, "|") != want {
			t.Errorf("the model read %q", said)
		}
		d.close()
	})
}
