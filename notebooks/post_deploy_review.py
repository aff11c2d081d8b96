# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#     notebook_metadata_filter: kernelspec,jupytext,-jupytext.text_representation.jupytext_version
#     text_representation:
#       extension: .py
#       format_name: percent
#       format_version: '1.3'
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Post-deploy review: did the deployment do what it was meant to?

# %% [markdown] tags=["setup"]
# **Which deployment is reviewed?** Values are names and paths, never connection strings: papermill keeps every
# value in the notebook it leaves behind.

# %% tags=["parameters"]
before: str = ""  # the .snapshot that `auditkit preflight --snapshot` or `auditkit snapshot` took before
environment: str = "production"  # name in auditkit.toml of the database that was deployed to
expected_version: str = ""  # the migration that should now be the newest; empty means the newest file
deployed_at: str = ""  # when the deployment ran, like 2026-11-22T08:00Z; empty means unknown
config: str = ""  # path of auditkit.toml; empty means the nearest one upwards
out_dir: str = ""  # where to keep audit.json; empty means nowhere

# %% [markdown] tags=["setup"]
# **Are the parameters sound, and what is the result?** A misspelt name stops here. Everything below is drawn
# from this one result.

# %%
from auditkit import report, verify

report.check_parameters(globals(), "post_deploy_review")
audit = verify(
    environment, before=before, expected_version=expected_version, deployed_at=deployed_at, config=config
).keep(out_dir)

# %% [markdown] tags=["setup"]
# **Did the deployment succeed, and if not: what differs, why, and what comes next?**

# %%
report.summary(audit)

# %% [markdown]
# ## Gates
#
# What was asked of the deployment, and what is the answer?

# %%
report.checks(audit)

# %% [markdown]
# ## Intended and actual
#
# Did every change that the deployed migrations make happen?

# %%
report.deployment(audit)

# %% [markdown]
# ## Unintended changes
#
# Did anything change that no deployed migration touches?

# %%
report.unintended(audit)

# %% [markdown]
# ## Ledger
#
# Does the ledger record what was deployed, and nothing else?

# %%
report.ledger_check(audit)

# %% [markdown]
# ## Findings
#
# What still differs from the migrations, and why?

# %%
report.findings(audit, inline=True)

# %% [markdown]
# ## Rollback
#
# What would take the deployment back? For reading, and rehearsing on a copy: nothing here runs by itself.

# %%
report.rollback(audit)

# %% [markdown]
# ## Sign-off
#
# Who deployed, who looked, who accepts it?

# %%
report.signoff(audit)

# %% [markdown]
# ## Not checked
#
# What does this review say nothing about?

# %%
report.coverage(audit)

# %% [markdown]
# ## Provenance
#
# How was this result made, and could it be made again?

# %%
report.provenance(audit)
