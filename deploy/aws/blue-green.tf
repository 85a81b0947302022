# Blue and green behind one application load balancer, set up so that Sluice can move the traffic.
#
# Copy this folder, set the variables, apply. Then the spec's route is (names are outputs below):
#
#   routes:
#     - kind: alb
#       connection: cloud            # [connections.cloud] kind = "aws", region = "…" in the worker's settings
#       load_balancer: shop
#       port: 443
#       rule: 10                     # or leave it out: the default rule
#       blue: checkout-blue
#       green: checkout-green
#       active_color: blue           # the colour that serves when the rollout starts
#
# Who decides what, from then on:
#   Terraform   what exists: balancer, target groups, health checks, listener, rule, permissions.
#   Sluice      the weights: the listener's default_action, the rule's action, and tags `sluice:…` on both.
# That border is `lifecycle { ignore_changes = … }` below. Without it the next `terraform apply` puts the weights back to
# `active_color` in the middle of a rollout, with no warning but its plan; and takes Sluice's tags off, which are the
# fence that stops a late write. If you use modules that do not let you set `lifecycle`, do not let them own the listener.
# (AWS provider: `ignore_tags { key_prefixes = ["sluice:"] }` covers the tags, never the weights.) On a listener or rule
# that exists already, set the tag `sluice = "managed"` before `tags` is ignored, or by hand: ignored is ignored.
#
# Both target groups are permanent and both are named in every rule, the idle one with weight 0: a group that no rule
# names is `unused`, its targets are never health checked, and traffic would arrive at targets nobody has looked at.
# Swap roles, never groups: do not re-point a group at other instances, and do not delete and create a rule.
#
# ECS (`kind: ecs`): two `aws_ecs_service`, each with its own target group, the deployment controller ECS, the strategy
# ROLLING, `ignore_changes = [desired_count]` and the tag below; both, because candidate and stable swap roles.
# Lambda (`kind: lambda-alias`): the tag below on the function, and `ignore_changes = [function_version,
# routing_config, description]` on its `aws_lambda_alias`; the description carries Sluice's mark.
#
# The worker's permissions are iam-policy.json, exactly what Sluice calls and no more (a test compares them). It changes
# nothing without the tag `sluice = "managed"`, which it cannot set itself, except for the forced-header rules that it
# made; reading is allowed everywhere, because AWS's Describe calls of load balancers know no resources.
# In other partitions (China, GovCloud) put theirs in place of `arn:aws:` there. A role to assume (`role_arn` in the
# settings) needs `sts:AssumeRole` for the worker's own identity, which is not in here. A rule that also authenticates
# with Cognito needs `cognito-idp:DescribeUserPoolClient` besides: AWS asks for it whenever such a rule is changed.

terraform {
  required_version = ">= 1.3"

  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = ">= 5.0"
    }
  }
}

variable "name" {
  description = "Name of the service; the target groups are named after it."
  type        = string
  default     = "checkout"

  validation {
    condition     = can(regex("^[a-zA-Z0-9][a-zA-Z0-9-]{0,25}$", var.name))
    error_message = "At most 26 letters, digits and dashes: AWS allows 32, and -green is added."
  }
}

variable "load_balancer" {
  description = "Name of the load balancer."
  type        = string
  default     = "shop"
}

variable "active_color" {
  description = "The colour that has all the traffic when the rule is created. Only then: later Sluice decides."
  type        = string
  default     = "blue"

  validation {
    condition     = contains(["blue", "green"], var.active_color)
    error_message = "Either blue or green."
  }
}

variable "vpc_id" {
  description = "Network of the targets."
  type        = string
}

variable "subnet_ids" {
  description = "Subnets of the load balancer, in at least two zones."
  type        = list(string)
}

variable "security_group_ids" {
  description = "Security groups of the load balancer."
  type        = list(string)
}

variable "certificate_arn" {
  description = "Certificate of the listener."
  type        = string
}

variable "target_port" {
  description = "Port on which the service listens."
  type        = number
  default     = 8080
}

variable "target_type" {
  description = "What is registered: ip (ECS with awsvpc, pods) or instance."
  type        = string
  default     = "ip"
}

variable "path" {
  description = "Requests that the rule splits; everything else follows the listener's default action."
  type        = string
  default     = "/checkout/*"
}

locals {
  # What Sluice may change. The IAM policy looks for exactly this tag.
  managed = { sluice = "managed" }

  # The first weights, and the last that Terraform writes.
  weight = {
    blue  = var.active_color == "blue" ? 100 : 0
    green = var.active_color == "green" ? 100 : 0
  }
}

resource "aws_lb" "this" {
  name               = var.load_balancer
  load_balancer_type = "application"
  subnets            = var.subnet_ids
  security_groups    = var.security_group_ids
}

resource "aws_lb_target_group" "blue" {
  name        = "${var.name}-blue"
  vpc_id      = var.vpc_id
  target_type = var.target_type
  protocol    = "HTTP"
  port        = var.target_port

  # As long as the slowest request may take: on the way back these requests still end on this colour.
  deregistration_delay = 60

  health_check {
    path                = "/ready"
    matcher             = "200"
    interval            = 10
    timeout             = 5
    healthy_threshold   = 2
    unhealthy_threshold = 2
  }
}

resource "aws_lb_target_group" "green" {
  name        = "${var.name}-green"
  vpc_id      = var.vpc_id
  target_type = var.target_type
  protocol    = "HTTP"
  port        = var.target_port

  deregistration_delay = 60

  health_check {
    path                = "/ready"
    matcher             = "200"
    interval            = 10
    timeout             = 5
    healthy_threshold   = 2
    unhealthy_threshold = 2
  }
}

# Use one of the two below: the listener's default action (`rule: default`), or one rule (`rule: 10`).

resource "aws_lb_listener" "https" {
  load_balancer_arn = aws_lb.this.arn
  protocol          = "HTTPS"
  port              = 443
  ssl_policy        = "ELBSecurityPolicy-TLS13-1-2-2021-06"
  certificate_arn   = var.certificate_arn
  tags              = local.managed

  default_action {
    type = "forward"

    forward {
      target_group {
        arn    = aws_lb_target_group.blue.arn
        weight = local.weight.blue
      }

      target_group {
        arn    = aws_lb_target_group.green.arn
        weight = local.weight.green
      }
    }
  }

  lifecycle {
    ignore_changes = [default_action, tags, tags_all]
  }
}

resource "aws_lb_listener_rule" "service" {
  listener_arn = aws_lb_listener.https.arn
  priority     = 10
  tags         = local.managed

  condition {
    path_pattern {
      values = [var.path]
    }
  }

  action {
    type = "forward"

    forward {
      target_group {
        arn    = aws_lb_target_group.blue.arn
        weight = local.weight.blue
      }

      target_group {
        arn    = aws_lb_target_group.green.arn
        weight = local.weight.green
      }
    }
  }

  lifecycle {
    ignore_changes = [action, tags, tags_all]
  }
}

# Attach it to the role of the worker.
resource "aws_iam_policy" "sluice" {
  name        = "${var.name}-sluice"
  description = "What a Sluice worker calls: read, and move the traffic of what is tagged sluice = managed"
  policy      = file("${path.module}/iam-policy.json")
}

output "load_balancer" {
  description = "For the route's `load_balancer`."
  value       = aws_lb.this.name
}

output "target_groups" {
  description = "For the route's `blue` and `green`."
  value = {
    blue  = aws_lb_target_group.blue.name
    green = aws_lb_target_group.green.name
  }
}

output "policy_arn" {
  description = "For the role of the worker."
  value       = aws_iam_policy.sluice.arn
}
