package app

import (
	"fmt"
	"time"

	"dealbox/internal/retention"
)

// HeartbeatConfig is where to ping.
type HeartbeatConfig struct {
	URL Secret // empty when unset; such URLs carry a key in their path
}

const day = 24 * time.Hour

func needRetention(s *settings, c *Config) {
	c.Retention.Events = s.keep("EVENT_RETENTION", "90d", retention.MinEvents)
	c.Retention.Alerts = s.keep("ALERT_RETENTION", "400d", retention.MinAlerts)
	c.Retention.Forecasts = s.keep("FORECAST_RETENTION", "48h", retention.MinForecasts)
}

// keep reads how long something is kept. Ten thousand days mean for ever.
func (s *settings) keep(name, fallback string, least time.Duration) time.Duration {
	standard, _ := parseDuration(fallback)
	v := s.text(name)
	if v == "" {
		return standard
	}
	d, err := parseDuration(v)
	if err != nil || d < least || d > 10_000*day {
		shortest := fmt.Sprintf("%gd", least.Hours()/24)
		if least < day {
			shortest = fmt.Sprintf("%gh", least.Hours())
		}
		s.wrong(name, "is "+shown(v), fmt.Sprintf("Give a duration such as 90d or 48h, from %s to 10000d; the default is %s.", shortest, fallback))
		return standard
	}
	return d
}

func needHeartbeat(s *settings, c *Config) {
	v := s.text("HEARTBEAT_URL")
	if v == "" {
		return
	}
	if _, wrong := ParseWebURL(v); wrong != "" {
		s.wrong("HEARTBEAT_URL", wrong, "Give the http or https URL that Dealbox requests each minute, as your monitoring shows it.")
		return
	}
	c.Heartbeat.URL = Secret(v)
}
