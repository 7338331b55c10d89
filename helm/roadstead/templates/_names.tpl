{{/* The name of all objects: as given, else the release's, with the chart's where that does not say it. */}}
{{- define "roadstead.name" -}}
{{- $name := .Release.Name -}}
{{- if not (contains .Chart.Name $name) }}{{ $name = printf "%s-%s" $name .Chart.Name }}{{ end -}}
{{- default $name .Values.fullnameOverride | trunc 52 | trimSuffix "-" -}}
{{- end }}

{{/* What finds the pods. It may not change in the life of a release. */}}
{{- define "roadstead.selector" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "roadstead.labels" -}}
{{ include "roadstead.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end }}

{{- define "roadstead.image" -}}
{{- if .Values.image.digest -}}
{{ .Values.image.repository }}@{{ .Values.image.digest }}
{{- else -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end -}}
{{- end }}

{{/* Ports as the configuration has them, so that they are said once. */}}
{{- define "roadstead.port" -}}
{{- first (required "config.server.listen needs an address" .Values.config.server.listen) | splitList ":" | last -}}
{{- end }}

{{/* The port with TLS, where it has one of its own. */}}
{{- define "roadstead.tlsPort" -}}
{{- if and .Values.tls.enabled .Values.tls.listen -}}
{{- first .Values.tls.listen | splitList ":" | last -}}
{{- end -}}
{{- end }}

{{- define "roadstead.adminPort" -}}
{{- required "config.admin.listen needs an address: the probes come there" .Values.config.admin.listen | splitList ":" | last -}}
{{- end }}

{{/* What the restricted level of Pod Security asks of a container, and a root that is not written. */}}
{{- define "roadstead.containerSecurityContext" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
{{- end }}

{{/* The Secret with the certificate. */}}
{{- define "roadstead.tlsSecret" -}}
{{- if or .Values.tls.secretName .Values.tls.certManager.enabled -}}
{{- .Values.tls.secretName | default (printf "%s-tls" (include "roadstead.name" .)) -}}
{{- else -}}
{{- fail "tls.enabled needs tls.secretName, or tls.certManager.enabled" -}}
{{- end -}}
{{- end }}

{{/* The pods of node-setup are none of those that serve. */}}
{{- define "roadstead.nodeSetupLabels" -}}
app.kubernetes.io/name: {{ .Chart.Name }}-node-setup
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}
