{{/* Who makes the certificates between services: cert-manager, job or secrets. */}}
{{- define "fleethaven.internalSource" -}}
{{- $source := .Values.tls.internal.source -}}
{{- $ca := printf "%s-ca" (include "fleethaven.name" .) -}}
{{- if ne $source "auto" -}}
{{- $source -}}
{{- else if not (.Capabilities.APIVersions.Has "cert-manager.io/v1") -}}
job
{{- /* Whose CA it is already stays: another one would part old pods from new ones. */ -}}
{{- else if lookup "cert-manager.io/v1" "Certificate" .Release.Namespace $ca -}}
cert-manager
{{- /* The job keeps its CA of the server certificate in the same secret, whoever makes the one of the services. */ -}}
{{- else if dig "data" "ca-key.pem" "" (lookup "v1" "Secret" .Release.Namespace $ca) -}}
job
{{- else -}}
cert-manager
{{- end -}}
{{- end -}}

{{/* The secret with the certificate of a role: dict "root" $ "role" "gateway". */}}
{{- define "fleethaven.internalSecret" -}}
{{- $source := include "fleethaven.internalSource" .root -}}
{{- if eq $source "secrets" -}}
{{- printf "%s-%s" .root.Values.tls.internal.secretPrefix .role -}}
{{- else if eq $source "cert-manager" -}}
{{- printf "%s-%s-identity" (include "fleethaven.name" .root) .role -}}
{{- else -}}
{{- printf "%s-%s" (include "fleethaven.name" .root) .role -}}
{{- end -}}
{{- end -}}

{{/* Who makes the server certificate: secret, cert-manager or job. */}}
{{- define "fleethaven.serverSource" -}}
{{- if .Values.tls.server.secretName -}}
secret
{{- else if .Values.tls.server.certManager.issuerRef -}}
cert-manager
{{- else -}}
job
{{- end -}}
{{- end -}}

{{/* The secret with it. */}}
{{- define "fleethaven.serverSecret" -}}
{{- $source := include "fleethaven.serverSource" . -}}
{{- if eq $source "secret" -}}
{{- .Values.tls.server.secretName -}}
{{- else if eq $source "cert-manager" -}}
{{- printf "%s-server-tls" (include "fleethaven.name" .) -}}
{{- else -}}
{{- printf "%s-server" (include "fleethaven.name" .) -}}
{{- end -}}
{{- end -}}

{{/* The secret with the address of Redis, and its key there. */}}
{{- define "fleethaven.redisSecret" -}}
{{- if .Values.redis.bundled.enabled -}}
name: {{ include "fleethaven.name" . }}-redis
key: url
{{- else if .Values.redis.external.existingSecret.name -}}
name: {{ .Values.redis.external.existingSecret.name }}
key: {{ .Values.redis.external.existingSecret.key }}
{{- else -}}
name: {{ include "fleethaven.name" . }}-redis-url
key: url
{{- end -}}
{{- end -}}

{{/* The secret with what seals the private keys of issuing CAs. */}}
{{- define "fleethaven.issuingKeysSecret" -}}
{{- .Values.metastore.issuingKeys.secretName | default (printf "%s-issuing-keys" (include "fleethaven.name" .)) -}}
{{- end -}}

{{/* Roles that have a certificate: all of ServiceRole in crates/pki. */}}
{{- define "fleethaven.identities" -}}
metastore,router,gateway,rules-worker,api,operator
{{- end -}}

{{/* Whether the secrets job has anything to make. */}}
{{- define "fleethaven.secretsJob" -}}
{{- if or (eq (include "fleethaven.internalSource" .) "job") (eq (include "fleethaven.serverSource" .) "job") .Values.redis.bundled.enabled (not .Values.metastore.issuingKeys.secretName) -}}
true
{{- end -}}
{{- end -}}

{{/* Names of the secrets that it may read and change. */}}
{{- define "fleethaven.secretNames" -}}
{{- $names := list "ca" "server" "redis" "account" "issuing-keys" -}}
{{- range splitList "," (include "fleethaven.identities" .) -}}
{{- $names = append $names . -}}
{{- end -}}
{{- range $names }}
- {{ include "fleethaven.name" $ }}-{{ . }}
{{- end -}}
{{- end -}}

{{/* The pod of the secrets job: "root" and "account" (service account). */}}
{{- define "fleethaven.secretsPod" -}}
metadata:
  labels: {{- include "fleethaven.labels" (dict "root" .root "role" "secrets") | nindent 4 }}
spec:
  serviceAccountName: {{ .account }}
  # The one kind of pod that speaks with Kubernetes' API: it keeps secrets.
  automountServiceAccountToken: true
  enableServiceLinks: false
  restartPolicy: Never
  {{- with .root.Values.imagePullSecrets }}
  imagePullSecrets: {{- toYaml . | nindent 4 }}
  {{- end }}
  securityContext: {{- include "fleethaven.podSecurity" . | nindent 4 }}
  containers:
    - name: secrets
      image: {{ include "fleethaven.image" .root | quote }}
      imagePullPolicy: {{ .root.Values.image.pullPolicy }}
      args:
        - pki
        - kubernetes
        - --prefix={{ include "fleethaven.name" .root }}
        {{- if eq (include "fleethaven.internalSource" .root) "job" }}
        - --services
        - --cluster={{ .root.Values.tls.internal.clusterName }}
        - --days={{ .root.Values.tls.internal.days }}
        {{- end }}
        {{- if eq (include "fleethaven.serverSource" .root) "job" }}
        {{- with include "fleethaven.serverNames" .root }}
        - --server-name={{ . }}
        {{- end }}
        {{- with index .root.Values.config "base-domain" }}
        - --base-domain={{ . }}
        {{- end }}
        {{- end }}
        {{- if not .root.Values.metastore.issuingKeys.secretName }}
        - --issuing-keys
        {{- end }}
        {{- if .root.Values.redis.bundled.enabled }}
        - --redis={{ include "fleethaven.host" (dict "root" .root "role" "redis") }}:6379
        {{- end }}
      securityContext: {{- include "fleethaven.containerSecurity" . | nindent 8 }}
      resources: {{- toYaml .root.Values.secretsJob.resources | nindent 8 }}
      volumeMounts:
        - name: tmp
          mountPath: /tmp
  volumes:
    # Keys are laid out here while it runs.
    - name: tmp
      emptyDir: {medium: Memory, sizeLimit: 4Mi}
{{- end -}}
