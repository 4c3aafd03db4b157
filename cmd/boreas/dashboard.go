package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"time"

	"github.com/boreas-ws/boreas/pkg/metrics/cloudwatch"
	"github.com/boreas-ws/boreas/pkg/metrics/dashboard"
)

type dashboardCmd struct {
	Grafana    dashboardGrafanaCmd    `cmd:"" help:"Print the dashboard for Grafana."`
	Cloudwatch dashboardCloudwatchCmd `cmd:"" help:"Print the dashboard for Amazon CloudWatch, or install it, and alarms."`
}

type dashboardGrafanaCmd struct{}

// Run prints what Grafana imports.
func (dashboardGrafanaCmd) Run(p *process) error {
	_, err := p.stdout.Write(dashboard.Grafana())
	return err
}

// putTimeout bounds the installation of a dashboard and its alarms.
const putTimeout = time.Minute

// dashboardCloudwatchCmd has the flags of a gateway that say where its metrics are.
type dashboardCloudwatchCmd struct {
	Name                 string            `default:"public" help:"Name of the gateway."`
	Namespace            string            `default:"boreas" help:"Namespace of the backplane."`
	CloudwatchNamespace  string            `default:"Boreas" help:"Namespace of the metrics in CloudWatch."`
	CloudwatchRegion     string            `placeholder:"REGION" help:"Region of CloudWatch. Default: as for every program of AWS."`
	CloudwatchEndpoint   string            `placeholder:"URL" help:"Endpoint of CloudWatch. Default: that of the region."`
	CloudwatchDimensions map[string]string `placeholder:"NAME=VALUE;..." help:"Dimensions beside Cluster and Gateway."`
	MaxSockets           int               `default:"${max_sockets}" help:"Clients that a gateway accepts, for the alarm that it is nearly full; negative for none."`

	Put        bool   `novar:"true" help:"Install the dashboard in place of printing it."`
	Alarms     bool   `novar:"true" help:"Install alarms."`
	AlarmTopic string `placeholder:"ARN" novar:"true" help:"SNS topic that alarms notify. Default: none."`
	As         string `placeholder:"NAME" novar:"true" help:"Name of the dashboard, with which those of alarms begin. Default: the namespace of the backplane and the gateway's name, such as boreas-public."`
}

// dashboardName is what CloudWatch takes for the name of a dashboard.
var dashboardName = regexp.MustCompile(`^[A-Za-z0-9_-]{1,200}$`)

// Run prints, or installs.
func (c *dashboardCloudwatchCmd) Run(p *process) error {
	name := c.As
	if name == "" {
		name = c.Namespace + "-" + c.Name
	}
	if !dashboardName.MatchString(name) {
		return usageError{fmt.Errorf("--as: %q; letters, digits, - and _ are possible", name)}
	}
	if c.AlarmTopic != "" && !c.Alarms {
		return usageError{errors.New("--alarm-topic: there are no alarms without --alarms")}
	}
	client, err := cloudwatch.NewClient(p.ctx, c.CloudwatchRegion, c.CloudwatchEndpoint)
	if err != nil {
		return usageError{err}
	}
	of := dashboard.Of{Region: client.Options().Region, Namespace: c.CloudwatchNamespace, Cluster: c.Namespace, Gateway: c.Name}
	for _, d := range slices.Sorted(maps.Keys(c.CloudwatchDimensions)) {
		of.Dimensions = append(of.Dimensions, cloudwatch.Dimension{Name: d, Value: c.CloudwatchDimensions[d]})
	}
	body := dashboard.CloudWatch(of)
	if !c.Put && !c.Alarms {
		_, err := p.stdout.Write(body)
		return err
	}
	if !c.Put {
		body = nil
	}
	var alarms []*dashboard.Alarm
	if c.Alarms {
		alarms = dashboard.Alarms(of, name, c.AlarmTopic, c.MaxSockets)
	}
	ctx, cancel := context.WithTimeout(p.ctx, putTimeout)
	defer cancel()
	warnings, err := dashboard.Put(ctx, client, name, body, alarms)
	for _, w := range warnings {
		p.logger.Warn("CloudWatch finds something odd in the dashboard", "message", w)
	}
	if err != nil {
		return err
	}
	if c.Put {
		fmt.Fprintln(p.stdout, "dashboard", name)
	}
	for _, a := range alarms {
		fmt.Fprintln(p.stdout, "alarm", *a.AlarmName)
	}
	return nil
}
