{{/* What no schema can say: values that must fit each other. All that is wrong is told at once. */}}
{{- define "fleethaven.check" -}}
{{- $wrong := list -}}
{{- $values := .Values -}}
{{- range $key := list "gateway" "rulesWorker" "api" -}}
{{- $role := index $values $key -}}
{{- $least := int $role.replicas -}}
{{- if $role.autoscaling.enabled -}}
{{- $least = int $role.autoscaling.minReplicas -}}
{{- if gt $least (int $role.autoscaling.maxReplicas) -}}
{{- $wrong = append $wrong (printf "%s.autoscaling: minReplicas (%d) is above maxReplicas (%d)" $key $least (int $role.autoscaling.maxReplicas)) -}}
{{- end -}}
{{- if not (or (int $role.autoscaling.cpu) (int (dig "connections" 0 $role.autoscaling)) (int (dig "queueDepth" 0 $role.autoscaling))) -}}
{{- $wrong = append $wrong (printf "%s.autoscaling has no target: set cpu, or another one" $key) -}}
{{- end -}}
{{- if and (int $role.autoscaling.cpu) (not (dig "requests" "cpu" "" $role.resources)) -}}
{{- $wrong = append $wrong (printf "%s.autoscaling.cpu is in percent of %s.resources.requests.cpu, which is not set" $key $key) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- range $key := list "gateway" "router" "rulesWorker" "api" -}}
{{- $budget := index $values $key "podDisruptionBudget" -}}
{{- if and $budget.enabled (has (toString $budget.maxUnavailable) (list "0" "0%")) -}}
{{- $wrong = append $wrong (printf "%s.podDisruptionBudget.maxUnavailable 0 would keep every node drain waiting for ever: at least 1, or enabled: false" $key) -}}
{{- end -}}
{{- end -}}
{{- if eq (mod (int .Values.metastore.replicas) 2) 0 -}}
{{- $wrong = append $wrong (printf "metastore.replicas must be odd, it is %d: an even number bears no more losses than one less" (int .Values.metastore.replicas)) -}}
{{- end -}}
{{- if has .Values.metastore.store (list "fleethaven" .Values.tls.internal.clusterName) -}}
{{- $wrong = append $wrong "metastore.store must be another name than the one that the store had before" -}}
{{- end -}}
{{- if ne (empty .Values.metastore.backup.schedule) (empty .Values.metastore.backup.claimName) -}}
{{- $wrong = append $wrong "metastore.backup: schedule and claimName count only together" -}}
{{- end -}}
{{- if ne (empty .Values.usageExport.schedule) (empty .Values.usageExport.claimName) -}}
{{- $wrong = append $wrong "usageExport: schedule and claimName count only together" -}}
{{- end -}}
{{- range $key := list "gateway" "router" "rulesWorker" "api" -}}
{{- $role := index $values $key -}}
{{- $drain := add (int (dig "delay" 0 $role.drain)) (int (index $role.drain "grace-period")) -}}
{{- if ge (int $drain) (int $role.terminationGracePeriodSeconds) -}}
{{- $wrong = append $wrong (printf "%s.drain takes up to %d s, and SIGKILL comes after %s.terminationGracePeriodSeconds (%d s): let that be more" $key (int $drain) $key (int $role.terminationGracePeriodSeconds)) -}}
{{- end -}}
{{- end -}}
{{- $external := .Values.redis.external -}}
{{- $addresses := add (ternary 1 0 (ne $external.url "")) (ternary 1 0 (ne $external.existingSecret.name "")) -}}
{{- if and .Values.redis.bundled.enabled (gt (int $addresses) 0) -}}
{{- $wrong = append $wrong "redis: the bundled one and an external one are both asked for: set redis.bundled.enabled to false, or leave redis.external empty" -}}
{{- end -}}
{{- if and (not .Values.redis.bundled.enabled) (ne (int $addresses) 1) -}}
{{- $wrong = append $wrong "redis: without the bundled one, set either redis.external.url or redis.external.existingSecret.name" -}}
{{- end -}}
{{- if and .Values.redis.bundled.enabled (ne .Values.redis.durability "process") (ne .Values.redis.durability "fsync:0") -}}
{{- $wrong = append $wrong (printf "redis.durability %s needs replicas, and the bundled Redis has none: process or fsync:0" .Values.redis.durability) -}}
{{- end -}}
{{- if and $external.clientCertificate (not $external.tlsSecretName) -}}
{{- $wrong = append $wrong "redis.external.clientCertificate needs redis.external.tlsSecretName, where the certificate is" -}}
{{- end -}}
{{- if and (eq .Values.tls.internal.source "secrets") (not .Values.tls.internal.secretPrefix) -}}
{{- $wrong = append $wrong "tls.internal.source secrets needs tls.internal.secretPrefix" -}}
{{- end -}}
{{- if and (ne .Values.tls.internal.source "secrets") .Values.tls.internal.secretPrefix -}}
{{- $wrong = append $wrong "tls.internal.secretPrefix counts only with tls.internal.source: secrets" -}}
{{- end -}}
{{- if and .Values.tls.server.secretName .Values.tls.server.certManager.issuerRef -}}
{{- $wrong = append $wrong "tls.server: set secretName or certManager.issuerRef, not both" -}}
{{- end -}}
{{- if and (not .Values.tls.server.serviceNames) .Values.tests.enabled (not .Values.tls.server.secretName) -}}
{{- $wrong = append $wrong "tls.server.serviceNames: without them in the certificate the test's pod cannot connect: set tests.enabled to false" -}}
{{- end -}}
{{- if not (or .Values.tls.server.secretName (include "fleethaven.serverNames" .) (index .Values.config "base-domain")) -}}
{{- $wrong = append $wrong "tls.server: a certificate without serviceNames needs names, an endpoint or config.base-domain" -}}
{{- end -}}
{{- if and (eq .Values.gateway.service.type "ClusterIP") .Values.gateway.service.nodePorts -}}
{{- $wrong = append $wrong "gateway.service.nodePorts needs type NodePort or LoadBalancer" -}}
{{- end -}}
{{- if and (ne .Values.gateway.service.type "LoadBalancer") (or .Values.gateway.service.loadBalancerClass .Values.gateway.service.loadBalancerSourceRanges) -}}
{{- $wrong = append $wrong "gateway.service.loadBalancerClass and loadBalancerSourceRanges need type LoadBalancer" -}}
{{- end -}}
{{- $tcp := list -}}
{{- range $name := list "mqtt-tls" "https" "https-mtls" -}}
{{- $tcp = append $tcp (int (index $values.gateway.service.ports $name)) -}}
{{- end -}}
{{- if ne (len (uniq $tcp)) (len $tcp) -}}
{{- $wrong = append $wrong "gateway.service.ports: the TCP ports must differ" -}}
{{- end -}}
{{- if and .Values.api.ingress.enabled (not .Values.api.ingress.hosts) -}}
{{- $wrong = append $wrong "api.ingress needs hosts" -}}
{{- end -}}
{{- if and .Values.api.tlsRoute.enabled (not (and .Values.api.tlsRoute.parentRefs .Values.api.tlsRoute.hostnames)) -}}
{{- $wrong = append $wrong "api.tlsRoute needs parentRefs and hostnames" -}}
{{- end -}}
{{- if and .Values.monitoring.podMonitor.enabled .Values.monitoring.serviceMonitor.enabled -}}
{{- $wrong = append $wrong "monitoring: a PodMonitor and a ServiceMonitor would count everything twice: enable one" -}}
{{- end -}}
{{- if and (not .Values.traces.endpoint) (or .Values.traces.headers.secretName .Values.traces.ca.configMap) -}}
{{- $wrong = append $wrong "traces.headers and traces.ca count only with traces.endpoint" -}}
{{- end -}}
{{- if and .Values.traces.ca.configMap (not (hasPrefix "https://" .Values.traces.endpoint)) .Values.traces.endpoint -}}
{{- $wrong = append $wrong "traces.ca is for an endpoint of https" -}}
{{- end -}}
{{- with .Values.metastore.encryption.kms -}}
{{- if and .key (not .credentialsSecret) -}}
{{- $wrong = append $wrong "metastore.encryption.kms.key needs credentialsSecret" -}}
{{- end -}}
{{- if and .key (not .region) (not (hasPrefix "arn:" .key)) -}}
{{- $wrong = append $wrong "metastore.encryption.kms.key is no ARN and needs region" -}}
{{- end -}}
{{- if and (not .key) (or .region .url .credentialsSecret .ca.configMap) -}}
{{- $wrong = append $wrong "metastore.encryption.kms counts only with its key" -}}
{{- end -}}
{{- end -}}
{{- range $key, $owner := dict "metastore" .Values.metastore "redis.bundled" .Values.redis.bundled -}}
{{- $persistence := $owner.persistence -}}
{{- $name := printf "%s-%s" (include "fleethaven.name" $) (first (splitList "." $key)) -}}
{{- $present := lookup "apps/v1" "StatefulSet" $.Release.Namespace $name -}}
{{- range ternary (dig "spec" "volumeClaimTemplates" list $present) list (dig "enabled" true $owner) -}}
{{- $size := .spec.resources.requests.storage -}}
{{- if ne (include "fleethaven.bytes" $size) (include "fleethaven.bytes" $persistence.size) -}}
{{- $wrong = append $wrong (printf "%s.persistence.size is %s, and Kubernetes does not change a StatefulSet's volumes of %s: docs/operations.md tells how they grow" $key $persistence.size $size) -}}
{{- end -}}
{{- $class := dig "spec" "storageClassName" "" . -}}
{{- if ne $class $persistence.storageClassName -}}
{{- $wrong = append $wrong (printf "%s.persistence.storageClassName is '%s', and Kubernetes does not change a StatefulSet's volumes of '%s'" $key $persistence.storageClassName $class) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- if $wrong -}}
{{- fail (printf "these values do not fit together:\n  - %s" (join "\n  - " $wrong)) -}}
{{- end -}}
{{- end -}}

{{/* A quantity of storage as a number of bytes, as Kubernetes may write it in another unit than it was given. */}}
{{- define "fleethaven.bytes" -}}
{{- $units := dict "" 1 "k" 1000 "M" 1000000 "G" 1000000000 "T" 1000000000000 "Ki" 1024 "Mi" 1048576 "Gi" 1073741824 "Ti" 1099511627776 -}}
{{- mulf (float64 (regexFind "^[0-9.]+" .)) (get $units (regexFind "[A-Za-z]*$" .)) -}}
{{- end -}}
