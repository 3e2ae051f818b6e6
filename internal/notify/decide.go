package notify

import (
	"errors"
	"time"

	"dealbox/internal/retry"
)

// maxRetryAfter bounds what a receiver may ask for.
const maxRetryAfter = time.Hour

// verdict is what becomes of a notification after an attempt: sent, or failed
// for good, or neither and tried again after wait.
type verdict struct {
	sent, failed bool
	wait         time.Duration
}

// attempt is one try to send a notification.
type attempt struct {
	number int           // from 1
	age    time.Duration // of the notification
	retry  bool          // whether another attempt may help
	err    error
}

// standing is where a notification's episode stands when it is about to be sent.
type standing struct {
	reason   Reason
	status   string // of the alert
	silenced bool   // while the alert is suppressed: by a silence, else inhibited
	told     bool   // the channel was told of the episode before
}

// withhold says why a notification that was right when it was enqueued is not
// sent any more; "" to send it. What is first told of an episode is sent even if
// it has ended by now: an outage of the channel must not hide that it was there.
func withhold(s standing) Suppression {
	switch {
	case s.reason == Resolved && !s.told:
		return NeverSent
	case s.reason == Resolved:
		return ""
	case s.status == "suppressed" && s.silenced:
		return Silenced
	case s.status == "suppressed":
		return Inhibition
	case s.reason == Reminder && s.status == "acknowledged":
		return Acknowledged
	case s.reason == Reminder && s.status == "resolved":
		return AlreadyResolved
	}
	return ""
}

// decide gives up on what cannot succeed and on what is too old; else the wait
// is the backoff or what the receiver asked for, whichever is longer.
func decide(a attempt, backoff retry.Policy, giveUpAfter time.Duration, rnd func() float64) verdict {
	if taken(a.err) {
		return verdict{sent: true}
	}
	if !a.retry || a.age >= giveUpAfter {
		return verdict{failed: true}
	}
	wait := backoff.Delay(a.number-1, rnd)
	var answer *SendError
	if errors.As(a.err, &answer) {
		wait = max(wait, min(answer.RetryAfter, maxRetryAfter))
	}
	return verdict{wait: wait}
}
