{{/* Pod Security "restricted". */}}
{{- define "fleethaven.podSecurity" -}}
runAsNonRoot: true
runAsUser: 10001
runAsGroup: 10001
fsGroup: 10001
fsGroupChangePolicy: OnRootMismatch
seccompProfile:
  type: RuntimeDefault
{{- end -}}

{{- define "fleethaven.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
{{- end -}}

{{/*
The pod template of a role: "root", "role"; "env" (a list of variables, as YAML), "ports" (a list, as YAML), "server" (whether the
server certificate is mounted), "store" (whether it uses Redis), "calls" (whether it calls functions or rule actions' targets), "mounts"
and "volumes" (further ones, as YAML), "startup" (tries of two seconds).
*/}}
{{- define "fleethaven.pod" -}}
{{- $root := .root -}}
{{- $values := index $root.Values (include "fleethaven.key" .role) -}}
{{- $labels := dict "root" $root "role" .role -}}
{{- $store := $root.Values.redis -}}
{{- $outbound := and .calls $root.Values.outbound.ca.configMap -}}
{{- $traces := $root.Values.traces -}}
{{- $tracesCa := and $traces.endpoint $traces.ca.configMap -}}
{{- $signs := or (eq .role "gateway") (eq .role "api") -}}
{{- $signer := ternary $root.Values.issuingSigner.container dict $signs -}}
{{- $storeTls := and .store (not $store.bundled.enabled) $store.external.tlsSecretName -}}
metadata:
  # Without versions: a new chart that changes nothing about a pod leaves it alone.
  labels:
    {{- include "fleethaven.selector" $labels | nindent 4 }}
    fleethaven.io/scraped: "true"
    {{- with $values.podLabels }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  annotations:
    # Another configuration starts the pods anew. Certificates do not: they are taken up.
    checksum/config: {{ include "fleethaven.config" $root | sha256sum }}
    {{- if and .store $store.external.url }}
    checksum/redis: {{ $store.external.url | sha256sum }}
    {{- end }}
    {{- if $root.Values.monitoring.annotations }}
    prometheus.io/scrape: "true"
    prometheus.io/port: "9090"
    {{- end }}
    {{- with $values.podAnnotations }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
spec:
  serviceAccountName: {{ include "fleethaven.name" $root }}
  automountServiceAccountToken: false
  # Their variables would be taken for settings.
  enableServiceLinks: false
  terminationGracePeriodSeconds: {{ $values.terminationGracePeriodSeconds }}
  {{- with $values.priorityClassName }}
  priorityClassName: {{ . }}
  {{- end }}
  {{- with $root.Values.imagePullSecrets }}
  imagePullSecrets: {{- toYaml . | nindent 4 }}
  {{- end }}
  securityContext: {{- include "fleethaven.podSecurity" . | nindent 4 }}
  topologySpreadConstraints:
    - topologyKey: kubernetes.io/hostname
      maxSkew: 1
      whenUnsatisfiable: {{ $values.nodeSpread }}
      labelSelector:
        matchLabels: {{- include "fleethaven.selector" $labels | nindent 10 }}
      {{- if ne .role "metastore" }}
      # Pods that an update is about to replace do not count.
      matchLabelKeys: [pod-template-hash]
      {{- end }}
    {{- if eq $values.zoneSpread "DoNotSchedule" }}
    - topologyKey: topology.kubernetes.io/zone
      maxSkew: 1
      whenUnsatisfiable: DoNotSchedule
      labelSelector:
        matchLabels: {{- include "fleethaven.selector" $labels | nindent 10 }}
      {{- if ne .role "metastore" }}
      matchLabelKeys: [pod-template-hash]
      {{- end }}
    {{- end }}
  containers:
    - name: {{ .role }}
      image: {{ include "fleethaven.image" $root | quote }}
      imagePullPolicy: {{ $root.Values.image.pullPolicy }}
      args: [{{ .role }}]
      envFrom:
        - configMapRef:
            name: {{ include "fleethaven.name" $root }}
      env:
        - name: POD_IP
          valueFrom:
            fieldRef:
              fieldPath: status.podIP
        {{- if .store }}
        - name: FLEETHAVEN_REDIS
          valueFrom:
            secretKeyRef: {{- include "fleethaven.redisSecret" $root | nindent 14 }}
        {{- end }}
        {{- if $storeTls }}
        - name: FLEETHAVEN_REDIS_CA
          value: /etc/fleethaven/redis/ca.crt
        {{- if $store.external.clientCertificate }}
        - name: FLEETHAVEN_REDIS_CERT
          value: /etc/fleethaven/redis/tls.crt
        - name: FLEETHAVEN_REDIS_KEY
          value: /etc/fleethaven/redis/tls.key
        {{- end }}
        {{- end }}
        {{- if .server }}
        - name: FLEETHAVEN_SERVER_CERT
          value: /etc/fleethaven/server/tls.crt
        - name: FLEETHAVEN_SERVER_KEY
          value: /etc/fleethaven/server/tls.key
        {{- end }}
        {{- if $outbound }}
        - name: FLEETHAVEN_OUTBOUND_CA
          value: /etc/fleethaven/outbound/{{ $root.Values.outbound.ca.key }}
        {{- end }}
        {{- if $signer }}
        - name: FLEETHAVEN_ISSUING_SIGNER
          value: /run/fleethaven/signer.sock
        {{- end }}
        {{- if or $traces.endpoint (eq .role "metastore") }}
        - name: POD_NAME
          valueFrom:
            fieldRef:
              fieldPath: metadata.name
        {{- end }}
        {{- if $traces.endpoint }}
        - name: OTEL_RESOURCE_ATTRIBUTES
          value: k8s.namespace.name={{ $root.Release.Namespace }},k8s.pod.name=$(POD_NAME)
        {{- if $traces.headers.secretName }}
        - name: OTEL_EXPORTER_OTLP_HEADERS
          valueFrom:
            secretKeyRef: {name: {{ $traces.headers.secretName }}, key: {{ $traces.headers.key }}}
        {{- end }}
        {{- end }}
        {{- with .env }}
        {{- . | nindent 8 }}
        {{- end }}
      ports:
        {{- with .ports }}
        {{- . | nindent 8 }}
        {{- end }}
        - name: admin
          containerPort: 9090
      securityContext: {{- include "fleethaven.containerSecurity" . | nindent 8 }}
      startupProbe:
        httpGet: {path: /startupz, port: admin}
        periodSeconds: 2
        timeoutSeconds: 2
        failureThreshold: {{ .startup }}
      readinessProbe:
        httpGet: {path: /readyz, port: admin}
        periodSeconds: 5
        timeoutSeconds: 2
        failureThreshold: 2
      livenessProbe:
        httpGet: {path: /livez, port: admin}
        periodSeconds: 10
        timeoutSeconds: 5
        failureThreshold: 6
      resources: {{- toYaml $values.resources | nindent 8 }}
      volumeMounts:
        - name: config
          mountPath: /etc/fleethaven/config
          readOnly: true
        - name: identity
          mountPath: /etc/fleethaven/identity
          readOnly: true
        {{- if .server }}
        - name: server
          mountPath: /etc/fleethaven/server
          readOnly: true
        {{- end }}
        {{- if $storeTls }}
        - name: redis
          mountPath: /etc/fleethaven/redis
          readOnly: true
        {{- end }}
        {{- if $outbound }}
        - name: outbound
          mountPath: /etc/fleethaven/outbound
          readOnly: true
        {{- end }}
        {{- if $tracesCa }}
        - name: traces
          mountPath: /etc/fleethaven/traces
          readOnly: true
        {{- end }}
        {{- if $signer }}
        - name: signer
          mountPath: /run/fleethaven
        {{- end }}
        {{- with .mounts }}
        {{- . | nindent 8 }}
        {{- end }}
    {{- if $signer }}
    - name: signer
      {{- toYaml (omit $signer "name" "volumeMounts") | nindent 6 }}
      volumeMounts:
        - name: signer
          mountPath: /run/fleethaven
        {{- with $signer.volumeMounts }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
    {{- end }}
  volumes:
    - name: config
      configMap:
        name: {{ include "fleethaven.name" $root }}
        items:
          - {key: fleethaven.toml, path: fleethaven.toml}
    - name: identity
      secret:
        secretName: {{ include "fleethaven.internalSecret" $labels }}
        defaultMode: 0440
    {{- if .server }}
    - name: server
      secret:
        secretName: {{ include "fleethaven.serverSecret" $root }}
        defaultMode: 0440
    {{- end }}
    {{- if $storeTls }}
    - name: redis
      secret:
        secretName: {{ $store.external.tlsSecretName }}
        defaultMode: 0440
    {{- end }}
    {{- if $outbound }}
    - name: outbound
      configMap:
        name: {{ $root.Values.outbound.ca.configMap }}
    {{- end }}
    {{- if $tracesCa }}
    - name: traces
      configMap:
        name: {{ $traces.ca.configMap }}
    {{- end }}
    {{- if $signer }}
    - name: signer
      emptyDir: {medium: Memory, sizeLimit: 1Mi}
    {{- with $root.Values.issuingSigner.volumes }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
    {{- end }}
    {{- with .volumes }}
    {{- . | nindent 4 }}
    {{- end }}
  {{- with $values.nodeSelector }}
  nodeSelector: {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with $values.tolerations }}
  tolerations: {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with include "fleethaven.affinity" (dict "values" $values "labels" $labels) | fromYaml }}
  affinity: {{- toYaml . | nindent 4 }}
  {{- end }}
{{- end -}}

{{/*
The affinity of the values, and pods of a role rather in different zones: "values", "labels". The scheduler ignores what it would only
rather have of topologySpreadConstraints, of nodes too, where a node has not all their labels; and not every cluster has zones.
*/}}
{{- define "fleethaven.affinity" -}}
{{- $affinity := dict -}}
{{- if eq .values.zoneSpread "ScheduleAnyway" -}}
{{- $term := dict "topologyKey" "topology.kubernetes.io/zone" -}}
{{- $_ := set $term "labelSelector" (dict "matchLabels" (include "fleethaven.selector" .labels | fromYaml)) -}}
{{- $preferred := list (dict "weight" 100 "podAffinityTerm" $term) -}}
{{- $_ := set $affinity "podAntiAffinity" (dict "preferredDuringSchedulingIgnoredDuringExecution" $preferred) -}}
{{- end -}}
{{- toYaml (mergeOverwrite $affinity .values.affinity) -}}
{{- end -}}

{{/*
A job's pod with an operator's certificate: "root", "name", "args" (as YAML), "account" (its service account, if any), "env", "mounts" and
"volumes" (further ones, as YAML), "resources".
*/}}
{{- define "fleethaven.operatorPod" -}}
metadata:
  labels: {{- include "fleethaven.labels" (dict "root" .root "role" .name) | nindent 4 }}
spec:
  serviceAccountName: {{ .account | default (include "fleethaven.name" .root) }}
  automountServiceAccountToken: {{ if .account }}true{{ else }}false{{ end }}
  enableServiceLinks: false
  restartPolicy: Never
  {{- with .root.Values.imagePullSecrets }}
  imagePullSecrets: {{- toYaml . | nindent 4 }}
  {{- end }}
  securityContext: {{- include "fleethaven.podSecurity" . | nindent 4 }}
  containers:
    - name: {{ .name }}
      image: {{ include "fleethaven.image" .root | quote }}
      imagePullPolicy: {{ .root.Values.image.pullPolicy }}
      args:
        {{- .args | nindent 8 }}
      env:
        - name: FLEETHAVEN_METASTORE
          value: {{ include "fleethaven.metastores" .root | quote }}
        - name: FLEETHAVEN_CLUSTER_TLS
          value: /etc/fleethaven/identity
        {{- with .env }}
        {{- . | nindent 8 }}
        {{- end }}
      securityContext: {{- include "fleethaven.containerSecurity" . | nindent 8 }}
      resources: {{- toYaml (.resources | default .root.Values.secretsJob.resources) | nindent 8 }}
      volumeMounts:
        - name: identity
          mountPath: /etc/fleethaven/identity
          readOnly: true
        {{- with .mounts }}
        {{- . | nindent 8 }}
        {{- end }}
  volumes:
    - name: identity
      secret:
        secretName: {{ include "fleethaven.internalSecret" (dict "root" .root "role" "operator") }}
        defaultMode: 0440
    {{- with .volumes }}
    {{- . | nindent 4 }}
    {{- end }}
{{- end -}}

{{/* Budget, autoscaler: "root", "role". */}}
{{- define "fleethaven.budget" -}}
{{- $values := index .root.Values (include "fleethaven.key" .role) -}}
{{- if $values.podDisruptionBudget.enabled }}
---
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata:
  name: {{ include "fleethaven.name" .root }}-{{ .role }}
  namespace: {{ .root.Release.Namespace }}
  labels: {{- include "fleethaven.labels" . | nindent 4 }}
spec:
  {{- if eq .role "metastore" }}
  # A quorum stays.
  minAvailable: {{ add1 (div (int $values.replicas) 2) }}
  {{- else }}
  maxUnavailable: {{ $values.podDisruptionBudget.maxUnavailable }}
  # A pod that is not ready anyway holds no drain up.
  unhealthyPodEvictionPolicy: AlwaysAllow
  {{- end }}
  selector:
    matchLabels: {{- include "fleethaven.selector" . | nindent 6 }}
{{- end }}
{{- end -}}

{{- define "fleethaven.autoscaler" -}}
{{- $values := index .root.Values (include "fleethaven.key" .role) -}}
{{- if $values.autoscaling.enabled }}
---
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata:
  name: {{ include "fleethaven.name" .root }}-{{ .role }}
  namespace: {{ .root.Release.Namespace }}
  labels: {{- include "fleethaven.labels" . | nindent 4 }}
spec:
  scaleTargetRef:
    apiVersion: apps/v1
    kind: Deployment
    name: {{ include "fleethaven.name" .root }}-{{ .role }}
  minReplicas: {{ $values.autoscaling.minReplicas }}
  maxReplicas: {{ $values.autoscaling.maxReplicas }}
  metrics:
    {{- with int $values.autoscaling.cpu }}
    - type: Resource
      resource:
        name: cpu
        target: {type: Utilization, averageUtilization: {{ . }}}
    {{- end }}
    {{- with int (dig "connections" 0 $values.autoscaling) }}
    - type: Pods
      pods:
        metric: {name: fleethaven_mqtt_connections}
        target: {type: AverageValue, averageValue: {{ . | quote }}}
    {{- end }}
    {{- with int (dig "queueDepth" 0 $values.autoscaling) }}
    - type: External
      external:
        metric:
          name: fleethaven_rule_queue_depth
          selector:
            matchLabels: {namespace: {{ $.root.Release.Namespace }}}
        target: {type: AverageValue, averageValue: {{ . | quote }}}
    {{- end }}
  {{- with $values.autoscaling.behavior }}
  behavior: {{- toYaml . | nindent 4 }}
  {{- end }}
{{- end }}
{{- end -}}
