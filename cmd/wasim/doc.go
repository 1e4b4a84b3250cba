// Command wasim is the loopback WhatsApp on its own: a server with phones and
// customers, commands that move them, and a load driver. Point frontdesk at it
// with FRONTDESK_WHATSAPP_URL and FRONTDESK_WHATSAPP_CERT_KEY.
package main
