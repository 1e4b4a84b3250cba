package webhook

import (
	"net/http"
	"strings"
)

// previewers are parts of the User-Agent of programs that look at an address because
// somebody wrote it in a chat or a mail, or because they look at all of them.
var previewers = []string{
	"whatsapp/", "facebookexternalhit", "facebookcatalog", "facebot", "meta-externalagent", "twitterbot", "slackbot-linkexpanding", "slack-imgproxy",
	"discordbot", "telegrambot", "linkedinbot", "skypeuripreview", "microsoftpreview", "bingpreview", "bingbot", "googlebot", "google-inspectiontool",
	"google-pagerenderer", "applebot", "redditbot", "pinterest", "embedly", "iframely", "vkshare", "viber", "kakaotalk-scrap", "mattermost-bot",
	"zulipurlpreview", "synapse (bot", "mastodon/", "snapchat", "yandexbot", "duckduckbot", "baiduspider", "bytespider", "gptbot",
}

// isPreview says that nobody asked for what a request would do: a program shows a link,
// or a browser fetches ahead. Only GET is meant, systems that call a webhook post.
func isPreview(r *http.Request) bool {
	if r.Method != http.MethodGet {
		return false
	}
	for _, name := range []string{"Sec-Purpose", "Purpose", "X-Purpose", "X-Moz"} {
		if purpose := strings.ToLower(r.Header.Get(name)); strings.Contains(purpose, "prefetch") || strings.Contains(purpose, "preview") {
			return true
		}
	}
	agent := strings.ToLower(r.UserAgent())
	for _, name := range previewers {
		if strings.Contains(agent, name) {
			return true
		}
	}
	return false
}
