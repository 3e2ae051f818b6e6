package jobs

// For the tests in jobs_test: they use pgtest, which imports this package.
var (
	ConfigOf       = config
	WorkerConfigOf = workerConfig
)
