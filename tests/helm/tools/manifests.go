// Reads the manifests that a chart renders, as YAML on standard input, and writes one JSON object: every document, and
// what the restricted level of Pod Security, as Kubernetes itself evaluates it, has against each pod.
package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	yamlreader "k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/pod-security-admission/api"
	"k8s.io/pod-security-admission/policy"
	"sigs.k8s.io/yaml"
)

type verdict struct {
	Kind    string   `json:"kind"`
	Name    string   `json:"name"`
	Against []string `json:"against"`
}

type answer struct {
	Documents []any     `json:"documents"`
	Pods      []verdict `json:"pods"`
}

type template struct {
	Metadata metav1.ObjectMeta `json:"metadata"`
	Spec     corev1.PodSpec    `json:"spec"`
}

type object struct {
	Kind     string            `json:"kind"`
	Metadata metav1.ObjectMeta `json:"metadata"`
	Spec     json.RawMessage   `json:"spec"`
}

func main() {
	found, err := read(os.Stdin)
	if err == nil {
		err = json.NewEncoder(os.Stdout).Encode(found)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "manifests:", err)
		os.Exit(1)
	}
}

func read(from io.Reader) (answer, error) {
	found := answer{Documents: []any{}, Pods: []verdict{}}
	reader := yamlreader.NewYAMLReader(bufio.NewReader(from))
	judge, err := policy.NewEvaluator(policy.DefaultChecks(), nil)
	if err != nil {
		return found, err
	}
	for {
		text, err := reader.Read()
		if errors.Is(err, io.EOF) {
			return found, nil
		}
		if err != nil {
			return found, err
		}
		// A key that is there twice is an error.
		document, err := yaml.YAMLToJSONStrict(text)
		if err != nil {
			return found, fmt.Errorf("%w in:\n%s", err, text)
		}
		if bytes.Equal(bytes.TrimSpace(document), []byte("null")) {
			continue
		}
		var whole any
		if err := json.Unmarshal(document, &whole); err != nil {
			return found, err
		}
		found.Documents = append(found.Documents, whole)
		name, pod, err := podOf(document)
		if err != nil {
			return found, fmt.Errorf("%w in:\n%s", err, text)
		}
		if pod == nil {
			continue
		}
		restricted := api.LevelVersion{Level: api.LevelRestricted, Version: api.LatestVersion()}
		result := policy.AggregateCheckResults(judge.EvaluatePod(restricted, &pod.Metadata, &pod.Spec))
		against := []string{}
		if !result.Allowed {
			against = result.ForbiddenReasons
		}
		found.Pods = append(found.Pods, verdict{Kind: name.Kind, Name: name.Metadata.Name, Against: against})
	}
}

// podOf gives the pod that an object is, or makes.
func podOf(document []byte) (object, *template, error) {
	var of object
	if err := json.Unmarshal(document, &of); err != nil {
		return of, nil, err
	}
	pod := &template{}
	switch of.Kind {
	case "Pod":
		pod.Metadata = of.Metadata
		return of, pod, json.Unmarshal(of.Spec, &pod.Spec)
	case "StatefulSet", "DaemonSet", "Deployment", "Job":
		var spec struct {
			Template template `json:"template"`
		}
		err := json.Unmarshal(of.Spec, &spec)
		return of, &spec.Template, err
	default:
		return of, nil, nil
	}
}
