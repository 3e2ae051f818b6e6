package email

import (
	"bytes"
	"encoding/json"
	"fmt"
	"html/template"
	"net/mail"
	"strings"

	gomail "github.com/wneessen/go-mail"

	"dealbox/internal/notify"
	"dealbox/internal/text"
)

// maxSubjectLine bounds the subject of a mail, in bytes. The body has all of it.
const maxSubjectLine = 150

// letter writes the mail for one receiver. It is whole before the server is asked.
// Its Message-ID is made of what is fixed when the notification is enqueued, so a
// mail that was sent twice is shown once, and References makes one thread of the
// mails of an episode.
func (c *Client) letter(m notify.Message, to *mail.Address) (*gomail.Msg, error) {
	letter := gomail.NewMsg()
	letter.FromMailAddress(c.sender(m))
	letter.ToMailAddress(to)
	letter.Subject(subject(m))
	letter.SetDateWithValue(m.At)
	letter.SetMessageIDWithValue(fmt.Sprintf("ntf-%d-%d@%s", m.ID, m.At.UnixMicro(), c.domain()))
	letter.SetGenHeader("References", fmt.Sprintf("<alert-%d-%d@%s>", m.Alert.ID, m.Alert.FirstSeen.UnixMicro(), c.domain()))
	letter.SetGenHeader("Auto-Submitted", "auto-generated") // RFC 3834: nobody's holiday answers it.
	letter.SetUserAgent(c.config.UserAgent)
	view := newView(m)
	var plain, markup bytes.Buffer
	writeText(&plain, view)
	if err := letterHTML.Execute(&markup, view); err != nil {
		return nil, err
	}
	letter.SetBodyString(gomail.TypeTextPlain, plain.String())
	letter.AddAlternativeString(gomail.TypeTextHTML, markup.String())
	return letter, nil
}

// sender returns the address that mails come from. One without a name gets that of this
// Dealbox, so that a mailbox with mails of several can be sorted.
func (c *Client) sender(m notify.Message) *mail.Address {
	if c.from.Name != "" || m.Instance == "" {
		return c.from
	}
	return &mail.Address{Name: "Dealbox " + m.Instance, Address: c.from.Address}
}

// domain returns what stands behind the @ of the sender.
func (c *Client) domain() string {
	return c.from.Address[strings.LastIndexByte(c.from.Address, '@')+1:]
}

func subject(m notify.Message) string {
	return text.Line(fmt.Sprintf("%s[%s] %s: %s", m.Prefix(), strings.ToUpper(m.Alert.Level), m.Title(), m.Alert.Message), maxSubjectLine)
}

// view is what both bodies show. Every text in it is one line.
type view struct {
	Level, Headline, Message string
	URL, Runbook, Document   string
	Values                   []named
	Details                  string // indented JSON, "" when there are none
}

type named struct{ Name, Value string }

func newView(m notify.Message) view {
	a := m.Alert
	v := view{Level: strings.ToUpper(a.Level), Headline: m.Headline(), Message: text.Line(a.Message, 2000), URL: m.URL, Runbook: m.Runbook, Document: m.Document}
	v.add("Dealbox", m.Instance)
	v.add("Rule", a.Rule)
	v.add("Subject", a.Subject)
	v.add("Since", notify.Clock(a.FirstSeen))
	v.add("Last seen", notify.Clock(a.LastSeen))
	v.add("Times", fmt.Sprint(a.Occurrences))
	v.add("Status", a.Status)
	var pretty bytes.Buffer
	if json.Indent(&pretty, a.Details, "", "  ") == nil && len(a.Details) > len("{}") {
		v.Details = pretty.String()
	}
	return v
}

func (v *view) add(name, value string) {
	if value = text.Line(value, 1000); value != "" {
		v.Values = append(v.Values, named{name, value})
	}
}

// writeText writes what a phone shows first: what it is, what to do, where to look.
func writeText(b *bytes.Buffer, v view) {
	fmt.Fprintf(b, "[%s] %s\n\n%s\n\n", v.Level, v.Headline, v.Message)
	if v.Runbook != "" {
		fmt.Fprintf(b, "What it means and what to do: %s\n", v.Runbook)
	}
	if v.URL != "" {
		fmt.Fprintf(b, "Open in Dealbox: %s\n", v.URL)
	}
	if v.Document != "" {
		fmt.Fprintf(b, "Open in Strapi: %s\n", v.Document)
	}
	if v.Runbook+v.URL+v.Document != "" {
		b.WriteByte('\n')
	}
	for _, f := range v.Values {
		fmt.Fprintf(b, "%-10s %s\n", f.Name, f.Value)
	}
	if v.Details != "" {
		fmt.Fprintf(b, "\n%s\n", v.Details)
	}
}

// letterHTML loads nothing from anywhere, and html/template makes every text inert.
var letterHTML = template.Must(template.New("letter").Parse(`<!doctype html>
<html lang="en"><body style="font-family: sans-serif">
<p><b>[{{.Level}}] {{.Headline}}</b></p>
<p>{{.Message}}</p>
{{with .Runbook}}<p><a href="{{.}}">What it means and what to do</a></p>
{{end}}{{with .URL}}<p><a href="{{.}}">Open in Dealbox</a></p>
{{end}}{{with .Document}}<p><a href="{{.}}">Open in Strapi</a></p>
{{end}}<table>{{range .Values}}
<tr><td style="padding-right: 1em; color: #666">{{.Name}}</td><td>{{.Value}}</td></tr>{{end}}
</table>
{{with .Details}}<pre>{{.}}</pre>
{{end}}</body></html>
`))
