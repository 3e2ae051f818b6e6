package revenue

import (
	"fmt"
	"time"

	"dealbox/internal/paging"
)

// window returns the first and the last month of the query. Without a
// start it is the current month, without an end HorizonMonths months in all.
func (f *Forecast) window(q Query, now time.Time) (start, end Month, err error) {
	start = MonthOf(now.In(f.config.Location))
	if q.Start != nil {
		start = *q.Start
	}
	end = start + Month(f.config.HorizonMonths) - 1
	if q.End != nil {
		end = *q.End
	}
	switch {
	case end < start && q.Start == nil:
		return 0, 0, &paging.FieldError{Field: "end_month", Problem: fmt.Sprintf("%s is before the current month %s: give start_month too", end, start)}
	case end < start:
		return 0, 0, &paging.FieldError{Field: "end_month", Problem: fmt.Sprintf("%s is before start_month %s", end, start)}
	case end-start >= MaxMonths:
		return 0, 0, &paging.FieldError{Field: "end_month", Problem: fmt.Sprintf("%s makes a window from %s of more than %d months", end, start, MaxMonths)}
	}
	return start, end, nil
}
