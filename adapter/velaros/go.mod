module github.com/boreas-ws/boreas/adapter/velaros

go 1.26.0

require (
	github.com/RobertWHurst/velaros v1.27.0
	github.com/boreas-ws/boreas v0.0.0
	github.com/coder/websocket v1.8.14
	github.com/gorilla/websocket v1.5.3
	go.uber.org/goleak v1.3.0
	google.golang.org/protobuf v1.36.12
)

replace github.com/boreas-ws/boreas => ../..
