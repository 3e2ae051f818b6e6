package notify

import (
	"errors"
	"time"

	"dealbox/internal/dbsqlc"
	"dealbox/internal/retry"
)

// maxRetryAfter bounds what a receiver may ask for.
const maxRetryAfter = time.Hour

// suppression returns why a notification that was right when it was enqueued is
// not sent any more; "" to send it. An episode that ended before its first notice
// was due notifies nobody, and neither does one that somebody has acknowledged since
// the notification was enqueued. One that lasted longer is notified even if it is over: an
// outage of the channel or of Dealbox must not hide it.
func suppression(n dbsqlc.NotificationGetRow, firstNoticeDelay time.Duration) Suppression {
	switch reason := Reason(n.Reason); {
	case reason == Resolved && n.Notices == 0:
		return NeverSent
	case reason == Resolved:
		return ""
	case n.AlertStatus == "suppressed":
		return mutedBy(n)
	case n.AlertStatus == "acknowledged":
		return Acknowledged
	case n.AlertStatus == "resolved" && (reason == Reminder || endedBeforeDue(n, firstNoticeDelay)):
		return AlreadyResolved
	}
	return ""
}

func mutedBy(n dbsqlc.NotificationGetRow) Suppression {
	if n.Silenced {
		return Silenced
	}
	return Inhibition
}

// endedBeforeDue reports whether the episode ended before its first notice was due.
// An escalation before which nothing was sent ended with it.
func endedBeforeDue(n dbsqlc.NotificationGetRow, firstNoticeDelay time.Duration) bool {
	isFirst := Reason(n.Reason) == First || Reason(n.Reason) == Escalated && n.Notices == 0
	return isFirst && n.ResolvedAt != nil && n.ResolvedAt.Sub(n.CreatedAt) <= firstNoticeDelay
}

// attempt is one try to send a notification.
type attempt struct {
	number int           // from 1
	age    time.Duration // of the notification
	retry  bool          // whether another attempt may help
	err    error
}

// step is what follows an attempt: the notification gets a status, sent or failed,
// or it stays pending and is tried again after wait.
type step struct {
	status string
	wait   time.Duration
}

// next gives up on what cannot succeed and on what is too old. Else the wait is the
// backoff or what the receiver asked for, whichever is longer.
func next(a attempt, backoff retry.Policy, giveUpAfter time.Duration, rnd func() float64) step {
	if a.err == nil {
		return step{status: "sent"}
	}
	if !a.retry || a.age >= giveUpAfter {
		return step{status: "failed"}
	}
	wait := backoff.Delay(a.number-1, rnd)
	var answer *SendError
	if errors.As(a.err, &answer) {
		wait = max(wait, min(answer.RetryAfter, maxRetryAfter))
	}
	return step{wait: wait}
}
