{{- /* One name for all, whatever the release's: a second release in one namespace is refused by Helm. */ -}}
{{- define "fleetmeter.name" -}}
fleetmeter-operator
{{- end }}

{{- define "fleetmeter.serviceAccount" -}}
{{- if .Values.serviceAccount.create -}}
{{ .Values.serviceAccount.name | default (include "fleetmeter.name" .) }}
{{- else -}}
{{ required "serviceAccount.create is false: set serviceAccount.name to the one to use" .Values.serviceAccount.name }}
{{- end }}
{{- end }}

{{- define "fleetmeter.selector" -}}
app.kubernetes.io/name: fleetmeter
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: operator
{{- end }}

{{- define "fleetmeter.labels" -}}
{{ include "fleetmeter.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end }}

{{- define "fleetmeter.meta" -}}
name: {{ include "fleetmeter.name" . }}
namespace: {{ .Release.Namespace }}
labels:
  {{- include "fleetmeter.labels" . | nindent 2 }}
{{- end }}
