package router

// Router routes the messages of sockets to handlers.
type Router struct{}

// NewRouter returns an empty router.
func NewRouter() *Router { return &Router{} }

// ServeSocket starts a socket on conn and returns the end that its transport feeds.
func (r *Router) ServeSocket(info SocketInfo, conn Conn) SocketHandler { panic("not yet") }

// RouteDescriptors lists the public routes, in the order they were bound.
func (r *Router) RouteDescriptors() []*RouteDescriptor { return nil }
