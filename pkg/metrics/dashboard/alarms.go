package dashboard

import (
	"context"
	"fmt"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatch"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatch/types"
)

// Alarm is an alarm as CloudWatch takes it.
type Alarm = cloudwatch.PutMetricAlarmInput

// Alarms returns what CloudWatch is to raise an alarm for. Names begin with prefix;
// topic is the SNS topic that is notified, "" for none; maxSockets is what one
// gateway accepts.
func Alarms(of Of, prefix, topic string, maxSockets int) []*Alarm {
	metric := func(name string) *types.Metric {
		m := &types.Metric{Namespace: &of.Namespace, MetricName: &name}
		for _, d := range of.dimensions() {
			m.Dimensions = append(m.Dimensions, types.Dimension{Name: aws.String(d.Name), Value: aws.String(d.Value)})
		}
		return m
	}
	alarm := func(name, why string, periods int32, op types.ComparisonOperator, threshold float64) *Alarm {
		a := &Alarm{
			AlarmName: aws.String(prefix + "-" + name), AlarmDescription: &why, EvaluationPeriods: &periods,
			ComparisonOperator: op, Threshold: &threshold, TreatMissingData: aws.String("notBreaching"),
		}
		if topic != "" {
			a.AlarmActions = []string{topic}
		}
		return a
	}
	simple := func(a *Alarm, name string, stat types.Statistic) *Alarm {
		m := metric(name)
		a.Namespace, a.MetricName, a.Dimensions, a.Statistic, a.Period = m.Namespace, m.MetricName, m.Dimensions, stat, aws.Int32(60)
		return a
	}
	input := func(id, name, stat string, period int32) types.MetricDataQuery {
		return types.MetricDataQuery{Id: &id, ReturnData: aws.Bool(false), MetricStat: &types.MetricStat{Metric: metric(name), Stat: &stat, Period: &period}}
	}
	formula := func(a *Alarm, expression, label string, inputs ...types.MetricDataQuery) *Alarm {
		a.Metrics = append([]types.MetricDataQuery{{Id: aws.String("rate"), Expression: &expression, Label: &label, ReturnData: aws.Bool(true)}}, inputs...)
		return a
	}
	const above, below = types.ComparisonOperatorGreaterThanThreshold, types.ComparisonOperatorLessThanThreshold
	silence := simple(alarm("silence", "No gateway reports its sockets.", 5, below, 1), "ActiveConnections", types.StatisticSampleCount)
	silence.TreatMissingData = aws.String("breaching")
	alarms := []*Alarm{
		formula(alarm("disconnects", "More than 5 of 100 sockets ended unexpectedly within five minutes.", 1, above, 5),
			"100 * ended / FILL(open, 1)", "unexpected disconnects of 100 sockets",
			input("ended", "UnexpectedDisconnects", "Sum", 300), input("open", "ActiveConnections", "Maximum", 300)),
		silence,
		simple(alarm("canary", "A gateway has not heard from itself over Redis for 5 s. Links wait for 30 s.", 1, above, 5000), "CanaryAgeMs", types.StatisticMaximum),
		simple(alarm("resets", "Links were reset. A node died, or Redis was away for more than 30 s.", 1, above, 0), "LinkResets", types.StatisticSum),
	}
	if maxSockets > 0 {
		alarms = append(alarms, formula(alarm("full", "A gateway is close to the sockets that it accepts.", 3, above, 85),
			fmt.Sprintf("100 * most / %d", maxSockets), "sockets of 100 accepted", input("most", "ActiveConnections", "Maximum", 60)))
	}
	return alarms
}

// Put installs a dashboard and alarms; those that are there under the same names are
// replaced. It returns what CloudWatch finds odd about the dashboard.
func Put(ctx context.Context, client *cloudwatch.Client, name string, body []byte, alarms []*Alarm) (warnings []string, err error) {
	if body != nil {
		out, err := client.PutDashboard(ctx, &cloudwatch.PutDashboardInput{DashboardName: &name, DashboardBody: aws.String(string(body))})
		if err != nil {
			return nil, fmt.Errorf("dashboard %s: %w", name, err)
		}
		for _, m := range out.DashboardValidationMessages {
			warnings = append(warnings, aws.ToString(m.DataPath)+": "+aws.ToString(m.Message))
		}
	}
	for _, a := range alarms {
		if _, err := client.PutMetricAlarm(ctx, a); err != nil {
			return warnings, fmt.Errorf("alarm %s: %w", aws.ToString(a.AlarmName), err)
		}
	}
	return warnings, nil
}
