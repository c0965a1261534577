-- A site's rule, as on NYU Torch: a job without an account is refused, with a sentence.
function slurm_job_submit(job, partitions, user)
  if job.account == nil or job.account == "" then
    slurm.log_user("an account is required: --account, or SBATCH_ACCOUNT")
    return slurm.ESLURM_INVALID_ACCOUNT
  end
  return slurm.SUCCESS
end

function slurm_job_modify(job, record, partitions, user)
  return slurm.SUCCESS
end

return slurm.SUCCESS
