package cloudwatch

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatch"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatch/types"
	"github.com/aws/smithy-go"

	"github.com/boreas-ws/boreas/pkg/metrics"
)

// Defaults of [Config].
const (
	DefaultNamespace = "Boreas"
	DefaultCluster   = "boreas"
	DefaultInterval  = time.Minute
	DefaultBacklog   = 120
)

// Limits of PutMetricData and of the embedded metric format.
const (
	maxData      = 1000
	maxBytes     = 900_000 // of 1 MB, by an estimate from above
	maxValuesAPI = 150
	maxValuesEMF = 100
)

// callTimeout bounds one call, its repetitions included; flushTimeout all calls at
// the end.
const (
	callTimeout  = 30 * time.Second
	flushTimeout = 2 * time.Second
)

// Config configures an [Exporter]. A zero field means its default.
type Config struct {
	// Namespace is that of the metrics in CloudWatch. Default "Boreas".
	Namespace string
	// Cluster is the dimension Cluster: the namespace of the backplane. Default
	// "boreas".
	Cluster string
	// Owner is the dimension of what concerns the whole process: Gateway or Service
	// and its name. Default: none.
	Owner Dimension
	// Dimensions are added to all metrics. Each combination of values is a metric
	// that is paid for: never use an id. Default: none.
	Dimensions []Dimension
	// Interval is the time between two reports. Default 60 s.
	Interval time.Duration
	// Backlog is how many calls' worth of metrics are kept while CloudWatch does not
	// take them; then the oldest are dropped. Default 120.
	Backlog int
	// Region and Endpoint take the place of what the environment says. Default: that.
	Region, Endpoint string
	// EMF gets log lines in the embedded metric format, and no calls are made.
	// Default: nil.
	EMF io.Writer
	// Logger gets reports that were not taken. Default: discards everything.
	Logger *slog.Logger
}

func (c Config) withDefaults() Config {
	set := func(s *string, v string) {
		if *s == "" {
			*s = v
		}
	}
	set(&c.Namespace, DefaultNamespace)
	set(&c.Cluster, DefaultCluster)
	if c.Interval == 0 {
		c.Interval = DefaultInterval
	}
	if c.Backlog == 0 {
		c.Backlog = DefaultBacklog
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return c
}

func (c Config) validate() error {
	var errs []error
	if c.Interval < time.Second {
		errs = append(errs, fmt.Errorf("cloudwatch.Config.Interval: %v; must be at least 1s", c.Interval))
	}
	if c.Backlog < 1 {
		errs = append(errs, fmt.Errorf("cloudwatch.Config.Backlog: %d; must be positive", c.Backlog))
	}
	if n := len(c.Dimensions); n > 28 {
		errs = append(errs, fmt.Errorf("cloudwatch.Config.Dimensions: %d; CloudWatch takes 30 with Cluster and Gateway", n))
	}
	for _, d := range c.Dimensions {
		if d.Name == "" || d.Value == "" {
			errs = append(errs, fmt.Errorf("cloudwatch.Config.Dimensions: %q=%q; name and value must not be empty", d.Name, d.Value))
		}
	}
	return errors.Join(errs...)
}

// Exporter reports to CloudWatch.
type Exporter struct {
	cfg       Config
	metrics   *metrics.Metrics
	client    *cloudwatch.Client // nil with EMF
	maxValues int

	// owned by Run
	last    metrics.Snapshot
	backlog [][]types.MetricDatum // each fits in one call
}

// New makes an exporter of m. It starts nothing; credentials are looked for as by
// every program of AWS, at the first call.
func New(ctx context.Context, m *metrics.Metrics, cfg Config) (*Exporter, error) {
	cfg = cfg.withDefaults()
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	e := &Exporter{cfg: cfg, metrics: m, maxValues: maxValuesEMF}
	if cfg.EMF == nil {
		e.maxValues = maxValuesAPI
		c, err := NewClient(ctx, cfg.Region, cfg.Endpoint)
		if err != nil {
			return nil, err
		}
		e.client = c
	}
	e.last = m.Gather()
	return e, nil
}

// NewClient makes a client with the default credential chain. Region and endpoint
// may be empty.
func NewClient(ctx context.Context, region, endpoint string) (*cloudwatch.Client, error) {
	var options []func(*config.LoadOptions) error
	if region != "" {
		options = append(options, config.WithRegion(region))
	}
	c, err := config.LoadDefaultConfig(ctx, options...)
	if err != nil {
		return nil, fmt.Errorf("cloudwatch: %w", err)
	}
	if c.Region == "" {
		return nil, errors.New("cloudwatch: no region; set one, or AWS_REGION")
	}
	return cloudwatch.NewFromConfig(c, func(o *cloudwatch.Options) {
		if endpoint != "" {
			o.BaseEndpoint = aws.String(endpoint)
		}
	}), nil
}

// Run reports every interval until ctx ends, and once more then. A call that is under
// way when ctx ends has until flushTimeout, too: if it were cut, nobody could know
// whether it was heard, and what is told again counts twice.
func (e *Exporter) Run(ctx context.Context) {
	calls, cut := context.WithCancel(context.WithoutCancel(ctx))
	defer cut()
	defer context.AfterFunc(ctx, func() { time.AfterFunc(flushTimeout, cut) })()
	tick := time.NewTicker(e.cfg.Interval)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			e.tell(calls)
		case <-ctx.Done():
			e.tell(calls)
			return
		}
	}
}

// tell reports now.
func (e *Exporter) tell(ctx context.Context) {
	data := e.report()
	if e.cfg.EMF != nil {
		if err := writeEMF(e.cfg.EMF, e.cfg.Namespace, data); err != nil {
			e.cfg.Logger.Warn("a report for CloudWatch could not be written", "error", err)
		}
		return
	}
	e.backlog = append(e.backlog, batches(data)...)
	if over := len(e.backlog) - e.cfg.Backlog; over > 0 {
		e.cfg.Logger.Warn("CloudWatch does not take reports; the oldest are dropped", "calls", over)
		e.backlog = slices.Delete(e.backlog, 0, over)
	}
	for len(e.backlog) > 0 {
		err := e.put(ctx, e.backlog[0])
		if err != nil && !hopeless(err) {
			e.cfg.Logger.Warn("CloudWatch does not take a report; it is kept", "error", err, "kept", len(e.backlog))
			return
		}
		if err != nil {
			e.cfg.Logger.Error("CloudWatch refuses a report; it is dropped", "error", err)
		}
		e.backlog = slices.Delete(e.backlog, 0, 1)
	}
}

// put makes one call. The SDK repeats it, with growing pauses, compresses it, and
// corrects the clock of its signature if it has to.
func (e *Exporter) put(ctx context.Context, data []types.MetricDatum) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	_, err := e.client.PutMetricData(ctx, &cloudwatch.PutMetricDataInput{Namespace: &e.cfg.Namespace, MetricData: data})
	return err
}

// hopeless reports whether a call would fail again whenever it is made.
func hopeless(err error) bool {
	var api smithy.APIError
	if !errors.As(err, &api) {
		return false
	}
	switch api.ErrorCode() {
	case "InvalidParameterValue", "InvalidParameterCombination", "MissingParameter", "MissingRequiredParameter", "ValidationError", "ValidationException":
		return true
	default:
		return false
	}
}

// batches puts data into calls.
func batches(data []Datum) (list [][]types.MetricDatum) {
	size := 0
	for _, d := range data {
		n := 400 + 20*len(d.Values)
		for _, dim := range d.Dimensions {
			n += len(dim.Name) + len(dim.Value) + 30
		}
		if len(list) == 0 || size+n > maxBytes || len(list[len(list)-1]) == maxData {
			list, size = append(list, nil), 0
		}
		size += n
		list[len(list)-1] = append(list[len(list)-1], d.aws())
	}
	return list
}

func (d Datum) aws() types.MetricDatum {
	out := types.MetricDatum{MetricName: &d.Name, Unit: types.StandardUnit(d.Unit), Timestamp: &d.Time}
	for _, dim := range d.Dimensions {
		out.Dimensions = append(out.Dimensions, types.Dimension{Name: &dim.Name, Value: &dim.Value})
	}
	if d.Values != nil {
		out.Values, out.Counts = d.Values, d.Counts
	} else {
		out.Value = &d.Value
	}
	return out
}
