package alerting

import (
	"slices"

	"dealbox/internal/health"
)

// HealthRules returns what health knows of the rules: it does not import this package.
func HealthRules() health.Rules {
	return health.Rules{
		TokenRefused: RuleStrapiTokenRefused, NotificationFailing: RuleNotificationFailing, ReconciliationFailing: RuleReconciliationFailing,
		Of: map[string]string{
			"strapi:token": RuleStrapiTokenRefused, "strapi:breaker": RuleBreakerOpened, "strapi:forced": RuleBreakerOpened,
			"ledger:dead": RuleEventDeadLettered, "ledger:oldest_pending": RuleOldestPending,
			"notifications:failing_channels": RuleNotificationFailing, "clock:skew": RuleClockSkew,
			"postgres:partitions": RulePartitionsRunningOut, "reconciliation:last_run": RuleReconciliationFailing,
			"reconciliation:guard": RuleMassDeleteGuard,
		},
		Describe: func(name string) (means, first string) {
			r := ruleOf(name)
			return r.Means, r.First
		},
		Explains: func(name string) []string {
			r := ruleOf(name)
			return slices.Concat(r.Inhibits, r.Explains)
		},
	}
}
