"""An AWS account on one machine: moto keeps what was written, a gate refuses what AWS refuses, HAProxy carries traffic.

Why three processes: no emulator has a load balancer that splits traffic by weights *and* refuses what AWS refuses. moto
stores everything and checks little, so `testbed.aws.gate` stands before it, one endpoint for every service: it checks
calls against AWS's published contract, tells the truth about target health, counts requests for CloudWatch, fails on
demand, and shows HAProxy (`testbed.aws.plane`) what the rules of the load balancer say now. Gate and HAProxy may be
killed and started again; moto keeps everything in memory, so its end is the end of the account.

Who starts `parts` himself needs the shops running first: the gate's part makes the resources once it is ready.

    with SimulatedAws(directory, stable_port=8001, candidate_port=8002) as aws:
        aws.url                      # where visitors come in: the listener on port 80 of load balancer `shop`
        aws.endpoint_url             # for every AWS client
        aws.environment              # dummy credentials and region for a worker's process
        aws.settings("cloud")        # TOML: [connections.cloud] kind = "aws", …, short waits; `**fields` override
        aws.route("cloud")           # spec route of kind `alb`: default rule, blue is stable, green the candidate
        aws.ecs_route("cloud")       # kind `ecs`; makes cluster `shop` with services checkout-blue and checkout-green
        aws.lambda_route("cloud")    # kind `lambda-alias`; makes function `checkout`, versions 1 and 2, alias `live`
        aws.states("checkout-blue")  # what DescribeTargetHealth says of its targets: ["healthy", …]
        aws.reset()                  # blue=1 green=0, no tags, no added rules, no faults, calls forgotten
        aws.client("elbv2")          # a plain boto3 client without retries (botocore's total_max_attempts=1)
        aws.fault(throttle=["ModifyRule"])       # fields below; the fields not named stay as they are
        aws.heal()                               # no faults
        aws.calls("DescribeRules")               # [{"at": unix_s, "service", "operation", "params", "error"}], oldest
        aws.calls(); aws.forget_calls()          # first; all operations; "error" is the code answered or None
        aws.set_weights_by_hand({"checkout-blue": 50, "checkout-green": 50}, sticky_s=None, rule_arn=None)
        aws.rules()                              # every rule of the listener, the default one last
        aws.add_load_balancers(n); aws.add_target_groups(n); aws.add_rules(n)   # all without traffic; lists of ARNs
        aws.register("checkout-green", count)    # so many targets (10.0.x.y:port), all of them the same shop
        aws.invoke("checkout:live")              # version that answered one invocation, drawn as AWS draws
        aws.default_rule_arn, aws.listener_arn, aws.load_balancer_arn, aws.group_arn("checkout-blue")

Fields of a fault; an operation is a name or a pattern such as `Describe*`:
    throttle, deny, unavailable, hang, drop, lose_answer, delay: list of operations.
        `throttle`: Throttling (ecs ThrottlingException, lambda TooManyRequestsException);
        `deny`: AccessDenied (ecs and lambda AccessDeniedException); `unavailable`: 503; `hang`: no answer until the
        faults change, no effect; `drop`: connection closed, no effect; `lose_answer`: done, and the connection closed
        instead of an answer; `delay`: done, and answered `delay_s` later.
    throttle_every: int = 1. Only every so many-th call of `throttle`.
    bucket: [40, 10]. Token bucket of the Describe* calls of elbv2: burst and refill a second; None: no limit.
    delay_s: float = 1.0.
    delay_effect: list of operations, delay_effect_s: float = 1.0. They are carried out so much later than they came,
        also if the caller has gone away, and answered then.
    effect_delay_s: float = 0. The data plane follows a write so much later.
    lying_health: bool = False. DescribeTargetHealth says healthy whatever is true.
    sick: list of targets `10.0.1.10:8002` that fail their health check although the shop behind them is fine.
    writer_every: int = 0, writer_weights: {"checkout-green": 10, …}. After every so many-th ModifyRule or
        ModifyListener somebody else writes these weights into the same rule.
    minute_s: float = 1. Length of CloudWatch's minute: points of so many seconds, with timestamps of real time; a
        Period of 60 means one such minute.
    metrics_lag_s: float = 0. CloudWatch knows nothing newer.
    page_size: int = 20. Largest page of Describe* (AWS's own is 400), so that forgetting to page shows.
    ecs_delay_s: float = 0.3. runningCount follows desiredCount so much later, and so do the service's targets.
    lambda_busy: bool = False. UpdateAlias answers ResourceConflictException.

What is AWS's published contract: operations, fields and error codes (botocore's model), weights 0–999, at most 5 groups
an action, 100 rules a load balancer besides defaults, priorities 1–50000, stickiness of 1–604800 s, tag limits, default
rules changed only by ModifyListener, health states and their reasons, unused groups never checked, fail-open groups, no
fail-over between groups, 503 of empty groups, sticky clients beating weights, sparse metrics, an alias's RevisionId.
What is assumed: that a weight counts from the answer on unless `effect_delay_s` says otherwise (AWS publishes no
bound), the wording of messages, the burst of throttling (told by users, not by AWS), that a cookie of a group that left
the rule is drawn anew and is not renewed by use, that targets still `initial` take no traffic, and that weights all 0
are accepted and answer 503. Not simulated: zones, TLS, slow start, least outstanding requests, redirects, source-ip
conditions, permissions, metric math, and deployments of ECS's own.
"""
