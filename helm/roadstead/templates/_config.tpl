{{/* The upstreams that are built in, for when something has to be added to each of them. A test holds them to be so. */}}
{{- define "roadstead.builtIn" -}}
upstream:
  - name: docker.io
    aliases: [index.docker.io, registry-1.docker.io]
    endpoints: ["https://registry-1.docker.io"]
    default: true
{{- range tuple "ghcr.io" "quay.io" "registry.k8s.io" "gcr.io" "mcr.microsoft.com" "public.ecr.aws" "nvcr.io" }}
  - name: {{ . }}
    endpoints: ["https://{{ . }}"]
{{- end }}
{{- end }}

{{/* roadstead.toml. Tables that are empty are left out: no upstreams at all stand for those that are built in. */}}
{{- define "roadstead.toml" -}}
{{- $config := deepCopy .Values.config -}}
{{- if and .Values.dockerConfigSecret (not $config.upstream) -}}
  {{- $config = merge (include "roadstead.builtIn" . | fromYaml) (omit $config "upstream") -}}
{{- end -}}
{{- range tuple "upstream" "warm" "uplink" "limits" "verify" -}}
  {{- if not (get $config .) }}{{ $config = omit $config . }}{{ end -}}
{{- end -}}
{{- if .Values.dockerConfigSecret -}}
  {{- range $upstream := $config.upstream -}}
    {{- if not (pick $upstream "username" "username_env" "password" "password_file" "password_env" "docker_config" "credential_helper") -}}
      {{- $_ := set $upstream "docker_config" "/etc/roadstead/docker/.dockerconfigjson" -}}
    {{- end -}}
  {{- end -}}
{{- end -}}
{{- if and (not .Values.tls.enabled) .Values.tls.listen }}{{ fail "tls.listen needs tls.enabled" }}{{ end -}}
{{- if and (not .Values.tls.listen) .Values.hostPort.tlsPort }}{{ fail "hostPort.tlsPort needs tls.listen" }}{{ end -}}
{{- if .Values.tls.enabled -}}
  {{- $beside := .Values.tls.listen -}}
  {{- $tls := dict "listen" ($beside | default $config.server.listen) "cert" "/etc/roadstead/tls/tls.crt" "key" "/etc/roadstead/tls/tls.key" -}}
  {{- if .Values.tls.clientCAConfigMap -}}
    {{- $tls = merge $tls (dict "client_ca" "/etc/roadstead/client-ca/ca.crt" "client_auth" .Values.tls.clientAuth) -}}
  {{- end -}}
  {{- $_ := set $config "tls" (merge (deepCopy ($config.tls | default dict)) $tls) -}}
  {{- if not $beside }}{{ $_ := set $config.server "listen" list }}{{ end -}}
{{- end -}}
{{- $access := pick .Values.access "networks" "proxies" -}}
{{- with .Values.access.htpasswdSecret }}{{ $access = set $access "htpasswd" "/etc/roadstead/users/htpasswd" }}{{ end -}}
{{- with .Values.access.rules }}{{ $access = set $access "rule" . }}{{ end -}}
{{- range $key, $value := $access -}}
  {{- if not $value }}{{ $access = omit $access $key }}{{ end -}}
{{- end -}}
{{- if $access -}}
  {{- $_ := set $config "access" (merge $access (deepCopy ($config.access | default dict))) -}}
{{- end -}}
{{/* Helm makes every number one with a fraction, which TOML tells from one without. */}}
{{- regexReplaceAll "(?m)^(\\s*[A-Za-z0-9_-]+ = -?[0-9]+)\\.0$" (toToml $config) "${1}" -}}
{{- end }}
