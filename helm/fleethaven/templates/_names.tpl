{{/* What the names of all objects begin with. Short, as a StatefulSet's pods are named after it. */}}
{{- define "fleethaven.name" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride -}}
{{- else if contains .Chart.Name .Release.Name -}}
{{- .Release.Name | trunc 36 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name .Chart.Name | trunc 36 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{/* Labels that select the pods of a role, or of all: dict "root" $ "role" "gateway". Never changed. */}}
{{- define "fleethaven.selector" -}}
app.kubernetes.io/name: {{ .root.Chart.Name }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
{{- with .role }}
app.kubernetes.io/component: {{ . }}
{{- end }}
{{- end -}}

{{/* Labels of every object, likewise. */}}
{{- define "fleethaven.labels" -}}
{{ include "fleethaven.selector" . }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/part-of: {{ include "fleethaven.name" .root }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version | replace "+" "_" }}
{{- end -}}

{{/* The key of a role among the values. */}}
{{- define "fleethaven.key" -}}
{{- if eq . "rules-worker" }}rulesWorker{{ else }}{{ . }}{{ end -}}
{{- end -}}

{{/* The image, by digest if one is given. */}}
{{- define "fleethaven.image" -}}
{{- if .Values.image.digest -}}
{{- printf "%s@%s" .Values.image.repository .Values.image.digest -}}
{{- else -}}
{{- printf "%s:%s" .Values.image.repository (.Values.image.tag | default .Chart.AppVersion) -}}
{{- end -}}
{{- end -}}

{{/* Any address of the family, and the port: dict "root" $ "port" 7400. */}}
{{- define "fleethaven.listen" -}}
{{- printf "%s:%d" (ternary "[::]" "0.0.0.0" (eq .root.Values.ipFamily "IPv6")) (int .port) -}}
{{- end -}}

{{/* The name of a metastore's pod in DNS: dict "root" $ "ordinal" 0. */}}
{{- define "fleethaven.node" -}}
{{- $name := include "fleethaven.name" .root -}}
{{- printf "%s-metastore-%d.%s-metastore.%s.svc.%s" $name (int .ordinal) $name .root.Release.Namespace .root.Values.clusterDomain -}}
{{- end -}}

{{/* The nodes that form the metadata store, which are always there: what the others know it by. */}}
{{- define "fleethaven.metastores" -}}
{{- $nodes := list -}}
{{- range $ordinal := until 3 -}}
{{- $nodes = append $nodes (printf "%s:7400" (include "fleethaven.node" (dict "root" $ "ordinal" $ordinal))) -}}
{{- end -}}
{{- join "," $nodes -}}
{{- end -}}

{{/* The same with their numbers. */}}
{{- define "fleethaven.peers" -}}
{{- $nodes := list -}}
{{- range $ordinal := until 3 -}}
{{- $nodes = append $nodes (printf "%d=%s:7400" (add1 $ordinal) (include "fleethaven.node" (dict "root" $ "ordinal" $ordinal))) -}}
{{- end -}}
{{- join "," $nodes -}}
{{- end -}}

{{/* A Service's name as others in the cluster use it: dict "root" $ "role" "api". */}}
{{- define "fleethaven.host" -}}
{{- printf "%s-%s.%s.svc" (include "fleethaven.name" .root) .role .root.Release.Namespace -}}
{{- end -}}

{{/* Where devices reach the gateways' HTTPS port. */}}
{{- define "fleethaven.endpoint" -}}
{{- .Values.endpoint | default (printf "%s:%d" (include "fleethaven.host" (dict "root" . "role" "gateway")) (int .Values.gateway.service.ports.https)) -}}
{{- end -}}

{{/* Names in the server certificate. */}}
{{- define "fleethaven.serverNames" -}}
{{- $names := list -}}
{{- range $role := ternary (list "gateway" "api") (list) .Values.tls.server.serviceNames -}}
{{- $service := printf "%s-%s" (include "fleethaven.name" $) $role -}}
{{- $host := include "fleethaven.host" (dict "root" $ "role" $role) -}}
{{- $names = concat $names (list $service (printf "%s.%s" $service $.Release.Namespace) $host (printf "%s.%s" $host $.Values.clusterDomain)) -}}
{{- end -}}
{{- with .Values.endpoint -}}
{{- $names = append $names (regexReplaceAll ":[0-9]+$" . "" | trimPrefix "[" | trimSuffix "]") -}}
{{- end -}}
{{- $names = concat $names .Values.tls.server.names .Values.api.ingress.hosts .Values.api.tlsRoute.hostnames -}}
{{- $names | uniq | join "," -}}
{{- end -}}

{{/* How many pods: nothing where an autoscaler decides, but for the start. */}}
{{- define "fleethaven.replicas" -}}
{{- $values := index .root.Values (include "fleethaven.key" .role) -}}
{{- if not (dig "autoscaling" "enabled" false $values) -}}
replicas: {{ $values.replicas }}
{{- else if .root.Release.IsInstall -}}
replicas: {{ $values.autoscaling.minReplicas }}
{{- else -}}
{{- /* What there is stays: without the field it would become 1 when autoscaling is switched on. */ -}}
{{- $name := printf "%s-%s" (include "fleethaven.name" .root) .role -}}
{{- with lookup "apps/v1" "Deployment" .root.Release.Namespace $name -}}
replicas: {{ .spec.replicas }}
{{- end -}}
{{- end -}}
{{- end -}}
