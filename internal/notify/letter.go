package notify

import (
	"bytes"
	"encoding/json"
	"fmt"
	"html/template"
	"strings"

	"dealbox/internal/text"

	gomail "github.com/wneessen/go-mail"
)

// maxSubjectLine bounds the subject of a mail, in bytes. The body has all of it.
const maxSubjectLine = 150

// letter writes the mail. Its Message-ID is made of what is fixed when the
// notification is enqueued, so a mail that was sent twice is shown once, and
// References makes one thread of the mails of an episode.
func (e *Email) letter(m Message) (*gomail.Msg, error) {
	letter := gomail.NewMsg()
	letter.FromMailAddress(e.from)
	letter.ToMailAddress(e.to...)
	letter.Subject(subject(m))
	letter.SetDateWithValue(m.At)
	letter.SetMessageIDWithValue(fmt.Sprintf("ntf-%d-%d@%s", m.ID, m.At.UnixMicro(), e.domain()))
	letter.SetGenHeader("References", fmt.Sprintf("<alert-%d-%d@%s>", m.Alert.ID, m.Alert.FirstSeen.UnixMicro(), e.domain()))
	letter.SetGenHeader("Auto-Submitted", "auto-generated") // RFC 3834: nobody's holiday answers it.
	letter.SetUserAgent(e.config.UserAgent)
	view := newView(m)
	var text, markup bytes.Buffer
	writeText(&text, view)
	if err := letterHTML.Execute(&markup, view); err != nil {
		return nil, err
	}
	letter.SetBodyString(gomail.TypeTextPlain, text.String())
	letter.AddAlternativeString(gomail.TypeTextHTML, markup.String())
	return letter, nil
}

func subject(m Message) string {
	return text.Line(fmt.Sprintf("[%s] %s: %s", strings.ToUpper(m.Alert.Level), title(m), m.Alert.Message), maxSubjectLine)
}

// title is the headline without its times, which the body has.
func title(m Message) string {
	words, _, _ := strings.Cut(m.Headline(), ",")
	return words
}

// view is what both bodies show. Every text in it is one line.
type view struct {
	Level, Headline, Message string
	Facts                    []named
	Details                  string // indented JSON, "" when there are none
	URL, Runbook             string
}

type named struct{ Name, Value string }

func newView(m Message) view {
	a := m.Alert
	v := view{Level: strings.ToUpper(a.Level), Headline: m.Headline(), Message: text.Line(a.Message, 2000), URL: m.URL, Runbook: m.Runbook}
	v.add("Rule", a.Rule)
	v.add("Subject", a.Subject)
	v.add("Since", Clock(a.FirstSeen))
	v.add("Last seen", Clock(a.LastSeen))
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
		v.Facts = append(v.Facts, named{name, value})
	}
}

func writeText(b *bytes.Buffer, v view) {
	fmt.Fprintf(b, "[%s] %s\n\n", v.Level, v.Headline)
	fmt.Fprintf(b, "%s\n\n", v.Message)
	for _, f := range v.Facts {
		fmt.Fprintf(b, "%-10s %s\n", f.Name, f.Value)
	}
	if v.Details != "" {
		fmt.Fprintf(b, "\n%s\n", v.Details)
	}
	if v.URL != "" {
		fmt.Fprintf(b, "\n%s\n", v.URL)
	}
	if v.Runbook != "" {
		fmt.Fprintf(b, "What to do: %s\n", v.Runbook)
	}
}

// letterHTML loads nothing from anywhere, and html/template makes every text inert.
var letterHTML = template.Must(template.New("letter").Parse(`<!doctype html>
<html lang="en"><body style="font-family: sans-serif">
<p><b>[{{.Level}}] {{.Headline}}</b></p>
<p>{{.Message}}</p>
<table>{{range .Facts}}
<tr><td style="padding-right: 1em; color: #666">{{.Name}}</td><td>{{.Value}}</td></tr>{{end}}
</table>
{{with .Details}}<pre>{{.}}</pre>
{{end}}{{with .URL}}<p><a href="{{.}}">Open in Dealbox</a></p>
{{end}}{{with .Runbook}}<p><a href="{{.}}">What it means and what to do</a></p>
{{end}}</body></html>
`))
