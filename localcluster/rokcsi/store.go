package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// record is what is known of a volume or a snapshot; it stands beside the data.
type record struct {
	ID      string    `json:"id"`
	Source  string    `json:"source,omitempty"` // the volume of a snapshot, the origin of a copy
	Bytes   int64     `json:"bytes"`
	Created time.Time `json:"created"`
}

// store keeps volumes and snapshots as FOLDER/KIND/ID/{record.json,data}. What is there is whole:
// it is made under another name and moved into place.
type store struct {
	folder string
	lock   sync.Mutex
}

type kind string

const (
	volumeKind   kind = "volumes"
	snapshotKind kind = "snapshots"
)

func openStore(folder string) (*store, error) {
	for _, kind := range []kind{volumeKind, snapshotKind} {
		if err := os.MkdirAll(filepath.Join(folder, string(kind)), 0o711); err != nil {
			return nil, err
		}
	}
	return &store{folder: folder}, nil
}

func (s *store) path(kind kind, id string, parts ...string) string {
	return filepath.Join(append([]string{s.folder, string(kind), id}, parts...)...)
}

// data is the folder that holds what a pod wrote.
func (s *store) data(kind kind, id string) string { return s.path(kind, id, "data") }

// get answers codes.NotFound for an id that is unknown or could lead out of the store's folder.
func (s *store) get(kind kind, id string) (record, error) {
	var found record
	if id == "" || id != filepath.Base(id) || strings.HasPrefix(id, ".") {
		return found, status.Errorf(codes.NotFound, "no %q in %s", id, kind)
	}
	text, err := os.ReadFile(s.path(kind, id, "record.json"))
	if errors.Is(err, fs.ErrNotExist) {
		return found, status.Errorf(codes.NotFound, "no %q in %s", id, kind)
	}
	if err != nil {
		return found, err
	}
	return found, json.Unmarshal(text, &found)
}

func (s *store) list(kind kind) ([]record, error) {
	entries, err := os.ReadDir(s.path(kind, ""))
	if err != nil {
		return nil, err
	}
	var found []record
	for _, entry := range entries {
		one, err := s.get(kind, entry.Name())
		if status.Code(err) == codes.NotFound {
			continue
		}
		if err != nil {
			return nil, err
		}
		found = append(found, one)
	}
	return found, nil
}

// create makes the thing that wanted describes, filled from the folder origin where there is one.
// A second call for the same id gives what the first one made; with another source or a larger
// size it is refused.
func (s *store) create(kind kind, wanted record, origin string) (record, error) {
	s.lock.Lock()
	defer s.lock.Unlock()
	made, err := s.get(kind, wanted.ID)
	if err == nil {
		if made.Source != wanted.Source || made.Bytes < wanted.Bytes {
			return made, status.Errorf(codes.AlreadyExists, "%s is there and differs", wanted.ID)
		}
		return made, nil
	}
	if status.Code(err) != codes.NotFound || wanted.ID != filepath.Base(wanted.ID) {
		return made, err
	}
	making := s.path(kind, ".making-"+wanted.ID)
	if err := os.RemoveAll(making); err != nil {
		return made, err
	}
	if err := os.Mkdir(making, 0o711); err != nil {
		return made, err
	}
	if err := fill(filepath.Join(making, "data"), origin); err != nil {
		return made, err
	}
	wanted.Created = time.Now().UTC()
	if err := writeRecord(making, wanted); err != nil {
		return made, err
	}
	return wanted, os.Rename(making, s.path(kind, wanted.ID))
}

func fill(data, origin string) error {
	if origin == "" {
		return os.Mkdir(data, 0o755)
	}
	copying := exec.Command("cp", "--archive", "--reflink=auto", "--no-target-directory", origin, data)
	if said, err := copying.CombinedOutput(); err != nil {
		return fmt.Errorf("copying %s: %w: %s", origin, err, said)
	}
	return nil
}

func writeRecord(folder string, what record) error {
	text, err := json.Marshal(what)
	if err != nil {
		return err
	}
	fresh := filepath.Join(folder, "record.json.new")
	if err := os.WriteFile(fresh, text, 0o600); err != nil {
		return err
	}
	return os.Rename(fresh, filepath.Join(folder, "record.json"))
}

// grow gives the size after it: never smaller than before.
func (s *store) grow(id string, bytes int64) (int64, error) {
	s.lock.Lock()
	defer s.lock.Unlock()
	volume, err := s.get(volumeKind, id)
	if err != nil || bytes <= volume.Bytes {
		return volume.Bytes, err
	}
	volume.Bytes = bytes
	return bytes, writeRecord(s.path(volumeKind, id), volume)
}

// remove is done already when the thing is not there.
func (s *store) remove(kind kind, id string) error {
	s.lock.Lock()
	defer s.lock.Unlock()
	if _, err := s.get(kind, id); err != nil {
		if status.Code(err) == codes.NotFound {
			return nil
		}
		return err
	}
	leaving := s.path(kind, ".making-"+id)
	if err := os.Rename(s.path(kind, id), leaving); err != nil {
		return err
	}
	return os.RemoveAll(leaving)
}
