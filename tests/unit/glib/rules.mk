# Tests of GLib's two basic examples, healthy and with each bug.
.PHONY: check-unit-glib
check-unit: check-unit-glib
check-unit-glib: $(GLIB_EXAMPLES) ## test GLib's two basic examples
	$(Q)BUILD=$(abspath $(BUILD)) SAN='$(SAN)' PYTHONDONTWRITEBYTECODE=1 \
		$(PYTHON) -m pytest -q -p no:cacheprovider tests/unit/glib
