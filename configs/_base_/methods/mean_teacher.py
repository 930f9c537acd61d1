# Mean Teacher (Tarvainen and Valpola, NeurIPS 2017), with a photometric view for the student.
mean_teacher = dict(
    type='MeanTeacher',
    teacher=dict(momentum=0.99),
    view=dict(type='PhotometricView', hue=0.25),
    mse_weight=100.0,
)
