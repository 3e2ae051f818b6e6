package notify

import (
	"errors"
	"strings"
)

// Undelivered is a mail that not all of its receivers took.
type Undelivered struct {
	Taken   bool      // somebody did
	Refused []Refusal // for good
	PutOff  []Refusal // for now: another attempt may help
}

// Refusal is what was said in place of taking a mail for a receiver.
type Refusal struct {
	To     string `json:"to"` // an address
	Answer string `json:"answer"`
}

func (u *Undelivered) Error() string {
	var parts []string
	for _, r := range u.Refused {
		parts = append(parts, "refused for "+r.To+": "+r.Answer)
	}
	for _, r := range u.PutOff {
		parts = append(parts, "put off for "+r.To+": "+r.Answer)
	}
	text := strings.Join(parts, "; ")
	if u.Taken {
		text = "sent, but " + text
	}
	return text
}

// taken tells whether somebody has the message: then it is sent, and err says who
// has not.
func taken(err error) bool {
	var u *Undelivered
	return err == nil || errors.As(err, &u) && u.Taken
}

// restOf is the job for the receivers who put off what others took; nil when there
// is none. It is a job of its own: the notification is sent and holds nothing up,
// and those who have it do not get it again with each attempt for the rest.
func restOf(id int64, err error) *SendArgs {
	var u *Undelivered
	if !errors.As(err, &u) || !u.Taken || len(u.PutOff) == 0 {
		return nil
	}
	args := &SendArgs{NotificationID: id, Refused: u.Refused}
	for _, r := range u.PutOff {
		args.To = append(args.To, r.To)
	}
	return args
}

// leftOf is who still has not got a mail after an attempt for its rest; nil when
// all have. With last, nobody is tried again.
func leftOf(rest SendArgs, retry, last bool, err error) error {
	left := &Undelivered{Taken: true, Refused: rest.Refused}
	var u *Undelivered
	switch {
	case err == nil:
	case errors.As(err, &u):
		left.Refused, left.PutOff = append(left.Refused, u.Refused...), u.PutOff
	default:
		for _, to := range rest.To {
			left.PutOff = append(left.PutOff, Refusal{To: to, Answer: err.Error()})
		}
		last = last || !retry
	}
	if last {
		left.Refused, left.PutOff = append(left.Refused, left.PutOff...), nil
	}
	if len(left.Refused)+len(left.PutOff) == 0 {
		return nil
	}
	return left
}
