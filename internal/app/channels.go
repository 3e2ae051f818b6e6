package app

import (
	"dealbox/internal/level"
	"dealbox/internal/notify"
	"dealbox/internal/notify/email"
	"dealbox/internal/notify/webhook"
)

// NotifyConfig returns the channels that the settings name.
func NotifyConfig(config Config, version string) (notify.Config, error) {
	c := notify.Config{Instance: config.Alerts.Instance}
	if config.Listen.PublicURL != nil {
		c.PublicURL = config.Listen.PublicURL.String()
	}
	if url := config.Alerts.WebhookURL.Reveal(); url != "" {
		client, err := webhook.New(webhook.Config{
			URL: url, Secret: config.Alerts.WebhookSecret.Reveal(), Format: webhook.Format(config.Alerts.WebhookFormat),
			UserAgent: "dealbox/" + version,
		})
		if err != nil {
			return c, err
		}
		c.Channels = append(c.Channels, notify.Channel{Name: notify.ChannelWebhook, Floor: floor(config.Alerts.WebhookLevel), Notify: client.Notify})
	}
	if config.Alerts.Email != nil {
		client, err := NewEmail(*config.Alerts.Email, version)
		if err != nil {
			return c, err
		}
		c.Channels = append(c.Channels, notify.Channel{
			Name: notify.ChannelEmail, Floor: floor(config.Alerts.Email.Level), Receivers: client.Receivers(), Notify: client.Notify,
		})
	}
	return c, nil
}

// NewEmail returns the e-mail channel of the settings. It connects to nothing.
func NewEmail(e EmailConfig, version string) (*email.Client, error) {
	return email.New(email.Config{
		Host: e.Host, Port: e.Port, Security: e.Security, User: e.User, Password: e.Password.Reveal(),
		Helo: e.Helo, From: e.From, To: e.To, UserAgent: "dealbox/" + version,
	})
}

func floor(name string) level.Level {
	l, _ := level.Parse(name) // checked with the settings
	return l
}
