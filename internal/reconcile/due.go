package reconcile

import "dealbox/internal/dbsqlc"

// due returns which run the schedule requests, if any. Ages are in seconds. A run
// that failed is tried again after the short interval.
func due(last dbsqlc.ReconciliationAgesRow, cfg Config) (Extent, bool) {
	switch {
	case last.HasOpen, last.TryAge < min(cfg.Interval, cfg.FullInterval).Seconds():
		return "", false
	case last.FullAge >= cfg.FullInterval.Seconds():
		return Full, true
	case last.TryAge >= cfg.Interval.Seconds():
		return Delta, true
	}
	return "", false
}
