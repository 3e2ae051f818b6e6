// Package alerting keeps what is wrong: one row an episode, from the first time
// that a rule fires for a subject until it resolves, and an append-only history.
// Whoever finds something wrong raises the alert in its own transaction, and the
// notifications are requested in it, too. So nothing happens without its alert,
// no alert is about something that was rolled back, and neither is a notification.
package alerting

import (
	"net/url"
	"strings"
	"time"

	"dealbox/internal/dbsqlc"
	"dealbox/internal/notify"
)

// Config of Alerts.
type Config struct {
	// RepeatEvery is how far apart repeats of one episode are recorded in its
	// history: 5,000 repeats are one row whose occurrences grow, not 5,000 rows of
	// history. A repeat is recorded only when the episode's last history row is
	// older than this. 0 means one minute.
	RepeatEvery time.Duration
	// RemindEvery is how long an episode that nobody acknowledged goes on before
	// its channels are notified again. 0 means 4 h.
	RemindEvery time.Duration
	// StrapiAdminURL is where people reach Strapi's admin panel, such as
	// https://cms.example.com/admin; "" for no links to documents.
	StrapiAdminURL string
}

// Alerts raises and resolves alerts.
type Alerts struct {
	config  Config
	outbox  *notify.Outbox
	queries *dbsqlc.Queries
}

// New makes Alerts that notify through the outbox.
func New(c Config, outbox *notify.Outbox) *Alerts {
	if c.RepeatEvery == 0 {
		c.RepeatEvery = time.Minute
	}
	if c.RemindEvery == 0 {
		c.RemindEvery = 4 * time.Hour
	}
	return &Alerts{config: c, outbox: outbox, queries: dbsqlc.New()}
}

// DocumentURL returns where people open a document in Strapi's editor; "" when it
// is not known where Strapi's admin panel is.
func (a *Alerts) DocumentURL(uid, documentID, locale string) string {
	if a.config.StrapiAdminURL == "" {
		return ""
	}
	link := strings.TrimRight(a.config.StrapiAdminURL, "/") + "/content-manager/collection-types/" +
		url.PathEscape(uid) + "/" + url.PathEscape(documentID)
	if locale != "" {
		link += "?plugins[i18n][locale]=" + url.QueryEscape(locale)
	}
	return link
}
