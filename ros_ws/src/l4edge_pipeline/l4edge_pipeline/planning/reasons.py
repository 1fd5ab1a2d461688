"""Why a trajectory has the speed it has: the law that binds at its first moment, in one word."""

CRUISE = "cruise"  # the speed limit, or the way up to it
CURVE = "curve"  # a curve here or ahead allows no more
FOLLOW = "follow"  # a moving object ahead in the lane
STOP = "stop"  # a standing object ahead in the lane, or one that comes towards the vehicle
YIELD = "yield"  # an object that is predicted to enter the lane
STOP_SIGN = "stop_sign"  # a stop sign ahead at which the vehicle has not yet stood
RED_LIGHT = "red_light"  # a red light ahead, or an amber one before which it can stop comfortably
ARRIVE = "arrive"  # the end of the route

CAUTION = "caution"  # the speed cap of the safety state CAUTION or DEGRADED
DOUBTED_SIGN = "doubted_sign"  # a sign or light ahead that an alarm is about: it may say stop
SAFE_STOP = "safe_stop"  # DEGRADED: the place chosen to stop at
MINIMAL_RISK = "minimal_risk"  # MINIMAL_RISK_MANOEUVRE: to a standstill, here

# The reasons below are faults: the vehicle brakes comfortably to a standstill.
NO_ROUTE = "no_route"  # none yet, or one that cannot be driven (fewer than two points, a value that is not finite)
OFF_ROUTE = "off_route"  # too far from the centre line, or across it
NO_ODOMETRY = "no_odometry"  # none yet, or values that are not finite
STALE_ODOMETRY = "stale_odometry"  # its stamp is too far from the image's

REASONS = (
    *(CRUISE, CURVE, FOLLOW, STOP, YIELD, STOP_SIGN, RED_LIGHT, ARRIVE),
    *(CAUTION, DOUBTED_SIGN, SAFE_STOP, MINIMAL_RISK),
    *(NO_ROUTE, OFF_ROUTE, NO_ODOMETRY, STALE_ODOMETRY),
)
