{{/* The name of all objects. */}}
{{- define "fleethaven.name" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride -}}
{{- else if contains .Chart.Name .Release.Name -}}
{{- .Release.Name | trunc 52 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name .Chart.Name | trunc 52 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{/* Labels that select the pod; never changed. */}}
{{- define "fleethaven.selector" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{/* Labels of every object. */}}
{{- define "fleethaven.labels" -}}
{{ include "fleethaven.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end -}}

{{/* The image, by digest if one is given. */}}
{{- define "fleethaven.image" -}}
{{- if .Values.image.digest -}}
{{- printf "%s@%s" .Values.image.repository .Values.image.digest -}}
{{- else -}}
{{- printf "%s:%s" .Values.image.repository (.Values.image.tag | default .Chart.AppVersion) -}}
{{- end -}}
{{- end -}}

{{/* The names under which the Service is reached within the cluster, and those of the user. */}}
{{- define "fleethaven.san" -}}
{{- $name := include "fleethaven.name" . -}}
{{- $inside := list $name (printf "%s.%s" $name .Release.Namespace) (printf "%s.%s.svc" $name .Release.Namespace) -}}
{{- concat $inside .Values.config.san | join "," -}}
{{- end -}}

{{/* What no schema can say: values that must fit each other. */}}
{{- define "fleethaven.check" -}}
{{- if ge (int (index .Values.config "grace-period")) (int .Values.terminationGracePeriodSeconds) -}}
{{- fail (printf "config.grace-period (%v s) must be below terminationGracePeriodSeconds (%v s), or the drain is cut off by SIGKILL" (index .Values.config "grace-period") .Values.terminationGracePeriodSeconds) -}}
{{- end -}}
{{- $ports := list (int (index .Values.ports "mqtt-tls")) (int .Values.ports.https) (int .Values.ports.admin) -}}
{{- if ne (len (uniq $ports)) 3 -}}
{{- fail (printf "ports: the three must differ, they are %v" $ports) -}}
{{- end -}}
{{- end -}}
